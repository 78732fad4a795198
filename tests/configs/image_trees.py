"""Folders of images for tests; nothing in configs looks into a file."""

import pathlib


def write_images(root: pathlib.Path, files: dict[str, int]) -> str:
    """Files of given sizes in bytes below a root; the value of --dataset that names it."""
    for name, size in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * size)
    return f"folder:{root}"


def number_images(below: str, count: int) -> dict[str, int]:
    """Empty images 0.jpg, 1.jpg, ... of one class, as `write_images` takes them."""
    return {f"{below}/{number}.jpg": 0 for number in range(count)}
