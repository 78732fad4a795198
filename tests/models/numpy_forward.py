"""The papers' networks in plain NumPy, float64, written from their description and not from the package's code.

Every forward pass takes {variable path: array} and inputs [batch, ...], and gives the logits. A keyword changes one
detail of the description, for negative controls.
"""

from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]
Padding = tuple[int, int]


def same(size: int, window: int, stride: int) -> Padding:
    """TensorFlow's SAME: outputs ceil(size / stride), the odd pixel of padding behind."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def patches(x: np.ndarray, window: int, stride: int, padding: Padding, fill: float = 0.0) -> np.ndarray:
    """Windows [batch, rows, columns, channels, window, window] of padded images."""
    padded = np.pad(x, ((0, 0), padding, padding, (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (window, window), axis=(1, 2))[:, ::stride, ::stride]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: Padding | None = None) -> np.ndarray:
    """Cross-correlation with a kernel [height, width, in, out]; SAME padding if none is given."""
    size = len(kernel)
    padding = same(x.shape[1], size, stride) if padding is None else padding
    return np.einsum("bijchw,hwco->bijo", patches(x, size, stride, padding), kernel)


def max_pool(x: np.ndarray, padding: Padding | None = None) -> np.ndarray:
    """Largest of 3x3, every second pixel, SAME."""
    padding = same(x.shape[1], 3, 2) if padding is None else padding
    return patches(x, 3, 2, padding, fill=-np.inf).max(axis=(-1, -2))


def normalize_responses(x: np.ndarray, alpha: float) -> np.ndarray:
    """x / (1 + alpha * energy of five neighbouring channels)^0.75."""
    channels = x.shape[-1]
    energy = np.stack([(x[..., max(0, c - 2) : c + 3] ** 2).sum(axis=-1) for c in range(channels)], axis=-1)
    return x / (1 + alpha * energy) ** 0.75


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def dense(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def mlp(weights: Weights, x: np.ndarray) -> np.ndarray:
    return dense(weights, "logits", relu(dense(weights, "hidden", x.reshape(len(x), -1))))


def fc5(weights: Weights, x: np.ndarray) -> np.ndarray:
    for name in ("hidden1", "hidden2", "hidden3", "hidden4"):
        x = relu(dense(weights, name, x))
    return dense(weights, "output", x)


def alexnet(weights: Weights, x: np.ndarray, *, alpha: float = 2e-5, pool_padding: Padding | None = None) -> np.ndarray:
    for name in ("conv1", "conv2"):
        x = relu(convolve(x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"])
        x = normalize_responses(max_pool(x, pool_padding), alpha)
    x = x.reshape(len(x), -1)
    for name in ("fc3", "fc4"):
        x = relu(dense(weights, name, x))
    return dense(weights, "logits", x)


def resnet18(weights: Weights, x: np.ndarray, *, fixed_padding: bool = True, epsilon: float = 1e-5) -> np.ndarray:
    def unit(name: str, x: np.ndarray, stride: int) -> np.ndarray:
        """Convolution and batch normalisation; strided ones pad (k - 1) pixels, split low and high."""
        kernel = weights[f"{name}/kernel"]
        total = len(kernel) - 1
        explicit = (total // 2, total - total // 2) if stride > 1 and fixed_padding else None
        gamma, beta, mean, variance = (
            weights[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (convolve(x, kernel, stride, explicit) - mean) / np.sqrt(variance + epsilon) + beta

    x = max_pool(relu(unit("stem", x, 2)))
    for stage in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            shortcut = unit(f"{name}_shortcut", x, stride) if block == 1 else x
            x = relu(unit(f"{name}_conv2", relu(unit(f"{name}_conv1", x, stride)), 1) + shortcut)
    return dense(weights, "logits", x.mean(axis=(1, 2)))
