"""scikit-learn's bundled handwritten digits: real images that need no download."""

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfunits.configs import DATASETS, DataConfig
from tfunits.datasets.components import fit_components
from tfunits.datasets.dataset import Dataset, Split
from tfunits.datasets.preprocessing import Preprocessing, Shifted
from tfunits.datasets.splits import interleave_classes

# Pixels of scikit-learn's digits count dots from 0 to 16.
_LARGEST_PIXEL = 16
_LARGE_SIDE = 32
# Keeps the choice of fewer training examples apart from the split.
_SUBSET_STREAM = 0x5B5E7


def split_indices(labels: np.ndarray, data_seed: int, num_train: int | None = None) -> dict[str, np.ndarray]:
    """Disjoint, stratified indices of the splits, exhaustive unless fewer training examples are asked for.

    Args:
      labels: [examples]; every split keeps their shares.
      data_seed: seed of the split.
      num_train: training examples; all of the split if None. Smaller sets lie inside larger ones.

    Returns: split name -> sorted indices.
    """
    known = DATASETS["digits"]
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=known.num_test, stratify=labels, random_state=data_seed
    )
    train, validation = train_test_split(
        rest, test_size=known.num_validation, stratify=labels[rest], random_state=data_seed
    )
    if num_train is not None:
        generator = np.random.default_rng([data_seed, _SUBSET_STREAM])
        train = interleave_classes(np.sort(train), labels, generator)[:num_train]
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def load(config: DataConfig) -> Dataset:
    """Ten digits, as 32x32x3 standardised images, 8x8x1 images or vectors of 64 pixels in [0, 1]."""
    bunch = load_digits()
    form = config.preprocessing or "image32"
    inputs = _FORMS[form](bunch.images / _LARGEST_PIXEL).astype("float32")
    splits = {
        name: Split(inputs=inputs[index], labels=bunch.target[index].astype("int32"))
        for name, index in split_indices(bunch.target, config.data_seed, config.num_examples).items()
    }
    preprocessing = Shifted() if inputs.ndim == 4 else Preprocessing()
    return Dataset(name="digits", num_classes=10, splits=splits, preprocessing=preprocessing)


def load_parity(config: DataConfig) -> Dataset:
    """Odd (1) or even (0), from ten principal components fitted on training images.

    Source: Doimo et al. 2022, section 2 (the pMNIST protocol).
    """
    bunch = load_digits()
    index = split_indices(bunch.target, config.data_seed, config.num_examples)
    components = fit_components(bunch.data[index["train"]])(bunch.data)
    labels = (bunch.target % 2).astype("int32")
    splits = {name: Split(inputs=components[i], labels=labels[i]) for name, i in index.items()}
    return Dataset(name="digits_parity", num_classes=2, splits=splits)


def standardize_images(images: np.ndarray) -> np.ndarray:
    """Every image with mean 0 and, where it has any contrast, standard deviation 1.

      (x - mean) / max(std, 1 / sqrt(N)),   N values in an image

    Args:
      images: [examples, height, width, channels].
    """
    axes = (1, 2, 3)
    std = images.std(axis=axes, keepdims=True)
    return (images - images.mean(axis=axes, keepdims=True)) / np.maximum(std, 1 / np.sqrt(images[0].size))


def _enlarge(images: np.ndarray) -> np.ndarray:
    large = tf.image.resize(images[..., None], (_LARGE_SIDE, _LARGE_SIDE), method="bilinear").numpy()
    return standardize_images(np.repeat(large, 3, axis=-1))


def _keep_image(images: np.ndarray) -> np.ndarray:
    return images[..., None]


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


_FORMS = {"image32": _enlarge, "image8": _keep_image, "vector64": _flatten}
