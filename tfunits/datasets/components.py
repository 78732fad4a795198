"""Principal components of images, the inputs of the parity tasks."""

from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA

# Doimo et al. 2022, section 2: parity from ten principal components.
_NUM_COMPONENTS = 10


def fit_components(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Ten principal components, each divided by its standard deviation on the images that they are fitted on.

    Source: Doimo et al. 2022, section 2 (the pMNIST protocol).

    Args:
      images: [examples, ...], training images alone.

    Returns: a function of images [examples, ...] that gives float32 [examples, 10].
    """
    # The covariance's eigenvectors: a decomposition of 55,000 x 784 pixels would take minutes.
    pca = PCA(_NUM_COMPONENTS, svd_solver="covariance_eigh").fit(_flatten(images))
    scale = pca.transform(_flatten(images)).std(axis=0)
    return lambda others: (pca.transform(_flatten(others)) / scale).astype("float32")


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype("float64")
