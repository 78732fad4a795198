"""A folder of images that stands for every folder:PATH."""

from collections.abc import Callable

import pytest
from image_trees import number_images, write_images

from tfunits.configs import FOLDER_PREFIX


@pytest.fixture(scope="session")
def name_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Key of a preset -> value of --dataset: the same, or a folder of 320 training images in two classes."""
    pets = tmp_path_factory.mktemp("images") / "pets"
    folder = write_images(pets, {**number_images("cat", 200), **number_images("dog", 200)})
    return lambda key: folder if key == FOLDER_PREFIX else key
