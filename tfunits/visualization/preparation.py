"""From images in [0, 1] to the inputs that tfunits' own networks were trained on."""

import dataclasses
import pathlib

import tensorflow as tf

from tfunits.artifacts import RunDir
from tfunits.configs import ImageForm, UserError, find_image_form


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What a data set's preprocessing does to pixels, as `prepare` of `render`.

    Args:
      form: of the data a network was trained on; `tfunits.configs.find_image_form` knows it.

    Example:
      >>> form = tfunits.configs.find_image_form("digits", "image32")
      >>> Preparation(form)(tf.zeros([1, 32, 32, 1])).shape
      TensorShape([1, 32, 32, 3])
    """

    form: ImageForm

    @property
    def channels(self) -> int:
        """Channels of the images that it takes."""
        return self.form.shape[-1]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Inputs [batch, height, width, channels of the network] of images in [0, 1]."""
        inputs = tf.repeat(images, self.form.copies, axis=-1) if self.form.copies > 1 else images
        if self.form.standardized:
            return tf.image.per_image_standardization(inputs)
        mean, std = (tf.constant(values, tf.float32) for values in (self.form.mean, self.form.std))
        return (self.form.scale * inputs - mean) / std


def preparation_of(run: str | pathlib.Path) -> Preparation:
    """What `prepare` of `render` is for the network of a run.

    Args:
      run: its directory.

    Returns: a `Preparation`, by which `render` also knows how many channels to draw.

    Raises:
      UserError: no run, or one whose network reads no images.

    Example: `render(tfunits.load(run), unit("conv1", 3), prepare=preparation_of(run))`
    """
    if not RunDir(run).config_file.is_file():
        raise UserError(f"run: expected the directory of a run, received {str(run)!r}")
    data = RunDir(run).config().data
    form = find_image_form(data.dataset, data.preprocessing)
    if form is None or form.is_vector:
        raise UserError(f"run: expected a network that reads images, received one of {data.dataset} as vectors")
    return Preparation(form)
