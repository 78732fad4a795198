"""MNIST's handwritten digits, and whether they are odd."""

import pathlib

from tfunits.configs import DataConfig
from tfunits.datasets.components import fit_components
from tfunits.datasets.dataset import Dataset, Split
from tfunits.datasets.preprocessing import Enlarged, Flattened, Scaled
from tfunits.datasets.records import open_records
from tfunits.datasets.splits import divide

_NUM_DIGITS = 10
_FORMS = {"image32": Enlarged(), "image28": Scaled(), "vector784": Flattened()}


def load(config: DataConfig, folder: pathlib.Path) -> Dataset:
    """Ten digits, as 32x32x3 standardised images, 28x28x1 images or vectors of 784 pixels in [0, 1].

    Args:
      config: which examples, in which form.
      folder: as tensorflow-datasets prepares it.

    Raises:
      UserError: damaged files, or more examples asked for than there are.
    """
    preprocessing = _FORMS[config.preprocessing or "image32"]
    return Dataset(
        name="mnist", num_classes=_NUM_DIGITS, splits=_read_splits(config, folder), preprocessing=preprocessing
    )


def load_parity(config: DataConfig, folder: pathlib.Path) -> Dataset:
    """Odd (1) or even (0), from ten principal components fitted on training images.

    Source: Doimo et al. 2022, section 2 (pMNIST).

    Args:
      config: which examples.
      folder: as tensorflow-datasets prepares MNIST.

    Raises:
      UserError: as `load`.
    """
    digits = _read_splits(config, folder)
    components = fit_components(digits["train"].inputs)
    splits = {
        name: Split(inputs=components(part.inputs), labels=part.labels % 2) for name, part in digits.items()
    }  # fmt: skip
    return Dataset(name="mnist_parity", num_classes=2, splits=splits)


def _read_splits(config: DataConfig, folder: pathlib.Path) -> dict[str, Split]:
    """Images as stored, uint8 [examples, 28, 28, 1]."""
    records = open_records(folder, _NUM_DIGITS, splits=("train", "test"))
    pool, test = (records[name].read_all() for name in ("train", "test"))
    splits = {
        name: Split(inputs=pool["image"][index], labels=pool["label"][index])
        for name, index in divide(config, len(pool["label"])).items()
        if len(index)
    }
    return {**splits, "test": Split(inputs=test["image"], labels=test["label"])}
