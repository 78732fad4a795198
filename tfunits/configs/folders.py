"""Folders of images: one sub-folder a class, with or without splits above them."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping

from tfunits.configs.errors import UserError, reject

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
ALL = "all"
# Names of a split's folder; ImageNet's trees say val.
_SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
# A folder without splits of its own is split 80/10/10.
HELD_OUT_SHARE = 0.1
# A tenth of fewer rounds to none.
_FEWEST_IMAGES = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder:
    """The images of a folder.

    Attributes:
      path: the folder.
      class_names: sorted; a label is an index into it.
      splits: split -> (path below the folder, label) of its images, sorted; "all" if the folder has no splits.
    """

    path: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[tuple[str, int], ...]]

    def count_splits(self) -> dict[str, int]:
        """Number of images of "train", "validation" and "test"."""
        if ALL not in self.splits:
            return {name: len(self.splits.get(name, ())) for name in ("train", "validation", "test")}
        total = len(self.splits[ALL])
        held_out = round(total * HELD_OUT_SHARE)
        return {"train": total - 2 * held_out, "validation": held_out, "test": held_out}

    def fingerprint(self) -> str:
        """SHA-256 of the images' names and sizes in bytes: what the folder holds, wherever it lies."""
        digest = hashlib.sha256()
        for split, images in sorted(self.splits.items()):
            for name, _ in images:
                size = os.path.getsize(os.path.join(self.path, name))
                # A file's name may be no Unicode.
                digest.update(os.fsencode(f"{split}/{name}/{size}\n"))
        return digest.hexdigest()


def locate(path: str) -> pathlib.Path:
    """The absolute path of folder:PATH, which may start with ~; links stay as they are."""
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))


def list_images(path: str) -> Folder:
    """The images below PATH/<class>/, or below PATH/<split>/<class>/ with splits train, validation (or val) and test.

    What is hidden (a name that starts with a dot) does not count, nor does a class without images.

    Raises:
      UserError: no such folder, fewer than two classes, no test images, or splits whose classes differ.
    """

    def refuse(expected: str, hint: str = "") -> UserError:
        return reject("dataset", f"folder:{path}", expected, hint)

    root = locate(path)
    if not path or not root.is_dir():
        raise refuse("an existing folder with one sub-folder a class")
    sub_folders = [entry.name for entry in _scan(root) if entry.is_dir()]
    if "train" in sub_folders and set(sub_folders) <= set(_SPLIT_NAMES):
        names = {_SPLIT_NAMES[name]: name for name in sub_folders}
        if len(names) < len(sub_folders):
            raise refuse("one folder of validation images, received val and validation", "join them")
        if "test" not in names:
            raise refuse("a folder test beside train, received none", "add it")
        found = {split: _list_classes(root, name) for split, name in names.items()}
        wrong = [names[split] for split, classes in found.items() if list(classes) != list(found["train"])]
        if wrong:
            raise refuse(f"the classes of train in {wrong[0]}, received others")
    else:
        found = {ALL: _list_classes(root, "")}
    class_names = tuple(next(iter(found.values())))
    if len(class_names) < 2:
        raise refuse(
            f"at least two sub-folders with images ({', '.join(IMAGE_SUFFIXES)}), received {len(class_names)}",
            "put every class into a sub-folder of its own",
        )
    splits = {
        split: tuple((name, label) for label, files in enumerate(classes.values()) for name in files)
        for split, classes in found.items()
    }
    if len(splits.get(ALL, ())) in range(1, _FEWEST_IMAGES):
        raise refuse(
            f"at least {_FEWEST_IMAGES} images, of which a tenth is for tests, received {len(splits[ALL])}",
            "or folders train and test",
        )
    return Folder(path=str(root), class_names=class_names, splits=splits)


def _list_classes(root: pathlib.Path, below: str) -> dict[str, list[str]]:
    """Class -> images of it, as paths below the root; classes without images are none."""
    classes = {}
    for entry in _scan(root / below):
        if entry.is_dir():
            images = [file.name for file in _scan(entry.path) if _is_image(file)]
            if images:
                classes[entry.name] = [os.path.join(below, entry.name, name) for name in images]
    return classes


def _is_image(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(IMAGE_SUFFIXES) and not entry.is_dir()


def _scan(folder: str | pathlib.Path) -> list[os.DirEntry]:
    """What a folder shows, by name."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
