"""Into which files results are exported."""

import importlib.util
import pathlib

from tfunits.configs.errors import UserError, reject

_SUFFIXES = (".parquet", ".csv", ".json")


def check_export(path: str) -> None:
    """Refuse, before anything is run, a file into which results cannot be exported.

    Args:
      path: of the file to make.

    Raises:
      UserError: it does not end in .parquet, .csv or .json, is a folder, lies in a file, or pandas cannot write it
        without pyarrow.

    Example:
      >>> check_export("results.csv")
    """
    suffix = pathlib.Path(path).suffix
    if suffix not in _SUFFIXES or pathlib.Path(path).is_dir():
        raise reject("export", path, "a file whose name ends in .parquet, .csv or .json")
    above = next((folder for folder in pathlib.Path(path).parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise reject("export", path, "a file in a folder", f"{above} is a file")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f'--export={path}: expected the package pyarrow, which is not there; pip install "tfunits[export]", or '
            "export .csv or .json"
        )
