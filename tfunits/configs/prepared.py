"""Where prepared data lie, found without TensorFlow, so that missing data are named at once."""

import os
import pathlib
import re
import shlex

from tfunits.configs import facts
from tfunits.configs.errors import UserError

# Where tensorflow-datasets prepares data unless told otherwise.
DEFAULT_DATA_DIR = "~/tensorflow_datasets"
# CIFAR's own archives, unpacked, are read as well.
BINARY_FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
# Where tensorflow-datasets fetches archives from; ImageNet's must be fetched by hand.
DOWNLOAD_HOSTS = {
    "cifar10": "https://www.cs.toronto.edu",
    "cifar100": "https://www.cs.toronto.edu",
    "mnist": "https://storage.googleapis.com",
}
_ARCHIVES = {
    "cifar10": "unpack cifar-10-binary.tar.gz there",
    "cifar100": "unpack cifar-100-binary.tar.gz there",
}
_IMAGENET_ARCHIVES = "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"
# While it prepares, tensorflow-datasets writes incomplete.XXXXXX_3.0.2.
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def resolve_data_dir(data_dir: str | None) -> pathlib.Path:
    """The folder of prepared data: the given one, or tensorflow-datasets' own."""
    return pathlib.Path(os.path.expanduser(data_dir or DEFAULT_DATA_DIR))


def is_prepared(dataset: str, data_dir: str | None) -> bool:
    """Whether a data set needs no preparation, or is prepared."""
    is_folder = dataset.startswith(facts.FOLDER_PREFIX)
    return is_folder or facts.find_dataset(dataset).prepared is None or _find(dataset, data_dir) is not None


def find_prepared(dataset: str, data_dir: str | None) -> pathlib.Path:
    """The folder of a prepared data set.

    Args:
      dataset: a name of `facts.DATASETS` that tensorflow-datasets prepares.
      data_dir: folder of prepared data; None for tensorflow-datasets' own.

    Returns: <data_dir>/<name>/<version> as tensorflow-datasets writes it, the highest version; or the unpacked binary
      form of CIFAR below data_dir.

    Raises:
      UserError: nothing is there, with the command that prepares it.
    """
    found = _find(dataset, data_dir)
    if found is None:
        raise UserError(describe_missing(dataset, data_dir))
    return found


def describe_missing(dataset: str, data_dir: str | None, *, download: bool = False) -> str:
    """One line: what is missing where, and what prepares it; nothing of --download where that was tried already."""
    name, root = facts.find_dataset(dataset).prepared, resolve_data_dir(data_dir)
    line = f"--dataset={dataset}: expected {name} prepared in {root}, received nothing there; "
    command = f"`tfds build {name} --data_dir={shlex.quote(str(root))}`"
    if name == "imagenet2012":
        by_hand = "--download cannot fetch it; " if download else ""
        return (
            f"{line}{by_hand}put {_IMAGENET_ARCHIVES} into {root / 'downloads' / 'manual'} and run {command}, "
            "or name another folder with --data_dir"
        )
    by_hand = f", or {_ARCHIVES[name]}" if name in _ARCHIVES else ""
    by_flag = "" if download else " or add --download"
    return f"{line}run {command}{by_flag}{by_hand}, or name another folder with --data_dir"


def _find(dataset: str, data_dir: str | None) -> pathlib.Path | None:
    name, root = facts.find_dataset(dataset).prepared, resolve_data_dir(data_dir)
    prepared = [path.parent for path in root.glob(f"{name}/*/dataset_info.json")]
    versions = [path for path in prepared if _VERSION.fullmatch(path.name)]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    binary = root / BINARY_FOLDERS.get(name, "no such folder")
    return binary if binary.is_dir() else None
