"""From images in [0, 1] to the inputs that tfunits' own networks were trained on."""

import dataclasses

import tensorflow as tf

from tfunits.configs import ImageForm


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
