"""From an image with pixels in [0, 1] to a network's inputs: what the data sets' preprocessing does to pixels."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from tfunits.configs.facts import FOLDER_PREFIX


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageForm:
    """What becomes of an image.

      (scale * x - mean) / std, or standardised: (x - mean(x)) / max(std(x), 1 / sqrt(N))

    Attributes:
      shape: of the image, (height, width, channels).
      copies: how often its channels are repeated.
      standardized: whether every image is standardised.
      scale, mean, std: of the equation, means and stds a channel or one for all.
      is_vector: whether the network reads the pixels in a row.
    """

    shape: tuple[int, int, int]
    copies: int = 1
    standardized: bool = False
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    is_vector: bool = False


_COLOR32 = (32, 32, 3)
_GREY_ENLARGED = ImageForm(shape=(32, 32, 1), copies=3, standardized=True)
_STANDARDIZED = ImageForm(shape=_COLOR32, standardized=True)
_CIFAR_VECTOR = ImageForm(shape=_COLOR32, is_vector=True)
# The official ResNet's channel means, and Inception's scale (FACTS 3.3).
_IMAGENET = {
    "image224": ImageForm(shape=(224, 224, 3), scale=255.0, mean=(123.68, 116.78, 103.94)),
    "image299": ImageForm(shape=(299, 299, 3), scale=2.0, mean=(1.0,)),
}
# FACTS 14.2.
_CIFAR10_NORMALIZED = ImageForm(shape=_COLOR32, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261))
_CIFAR100_NORMALIZED = ImageForm(shape=_COLOR32, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))

# (data set, or folder:) -> preprocessing -> what it does; data that are no images have no entry. Of AlexNet's crop28,
# that the crop is standardised before it is enlarged makes no difference to a pixel but by the size.
_FORMS: Mapping[str, Mapping[str, ImageForm]] = MappingProxyType(
    {
        "digits": {
            "image32": _GREY_ENLARGED,
            "image8": ImageForm(shape=(8, 8, 1)),
            "vector64": ImageForm(shape=(8, 8, 1), is_vector=True),
        },
        "mnist": {
            "image32": _GREY_ENLARGED,
            "image28": ImageForm(shape=(28, 28, 1)),
            "vector784": ImageForm(shape=(28, 28, 1), is_vector=True),
        },
        "cifar10": {
            "image32": _STANDARDIZED, "crop28": _STANDARDIZED, "normalized32": _CIFAR10_NORMALIZED,
            "vector3072": _CIFAR_VECTOR,
        },
        "cifar100": {
            "image32": _STANDARDIZED, "crop28": _STANDARDIZED, "normalized32": _CIFAR100_NORMALIZED,
            "vector3072": _CIFAR_VECTOR,
        },
        "imagenet2012": _IMAGENET,
        FOLDER_PREFIX: {"image32": _STANDARDIZED, **_IMAGENET},
    }
)  # fmt: skip


def find_image_form(dataset: str, preprocessing: str) -> ImageForm | None:
    """What a data set's preprocessing does to an image; None for data that are no images.

    Args:
      dataset: a named data set, or folder:PATH.
      preprocessing: one of its.

    Example:
      >>> find_image_form("digits", "image32").copies
      3
    """
    name = FOLDER_PREFIX if dataset.startswith(FOLDER_PREFIX) else dataset
    return _FORMS.get(name, {}).get(preprocessing)
