"""Images in numpy, in float64: colours, pyramids, spectra by their cosines."""

import numpy as np

# Lucid's published constants (optvis.param.color), typed anew.
COLOR_ROOT = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOR_MEAN = np.array([0.48, 0.46, 0.41])


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def correlate(colors: np.ndarray) -> np.ndarray:
    """Independent colours [..., 3] as red, green and blue."""
    lengths = [np.sqrt(sum(COLOR_ROOT[i, j] ** 2 for i in range(3))) for j in range(3)]
    return np.einsum("ij,...j->...i", COLOR_ROOT / max(lengths), colors)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """TensorFlow 1's bilinear resizing of [rows, columns, channels], pixel by pixel."""
    rows, columns, _ = image.shape
    enlarged = np.empty((*size, image.shape[2]))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = i * rows / size[0], j * columns / size[1]
            top, left = int(y), int(x)
            below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = image[top, left] + (x - left) * (image[top, right] - image[top, left])
            lower = image[below, left] + (x - left) * (image[below, right] - image[below, left])
            enlarged[i, j] = upper + (y - top) * (lower - upper)
    return enlarged


def cosines(spectrum: np.ndarray, width: int) -> np.ndarray:
    """Real image [height, width] of the half spectrum [height, width // 2 + 1] of an even width, term by term."""
    height, columns = spectrum.shape
    rows, places = np.mgrid[:height, :width]
    image = np.zeros((height, width))
    for k in range(height):
        for m in range(columns):
            phase = 2 * np.pi * (k * rows / height + m * places / width)
            times = 1 if m in (0, columns - 1) else 2
            image += times * (spectrum[k, m].real * np.cos(phase) - spectrum[k, m].imag * np.sin(phase))
    return image / (height * width)
