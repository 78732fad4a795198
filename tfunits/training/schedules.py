"""The learning rate as a function of the step."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.configs import TrainingConfig


@keras.saving.register_keras_serializable(package="tfunits")
class StepSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate looked up in a table of steps.

    The table is a variable, so that a compiled step serves trainings with other rates.

    Args:
      rates: learning rate of every step; beyond the last step, the last.
    """

    def __init__(self, rates: Any) -> None:
        super().__init__()
        self._table = tf.Variable(np.asarray(rates, "float32"), trainable=False, name="learning_rates")

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, a float32 scalar."""
        index = tf.minimum(tf.cast(step, tf.int32), self._table.shape[0] - 1)
        return tf.gather(self._table, index)

    def assign(self, rates: np.ndarray) -> None:
        """Take other rates, as many as before."""
        self._table.assign(rates)

    def get_config(self) -> dict[str, Any]:
        """The table."""
        return {"rates": self._table.numpy().tolist()}


def learning_rates(config: TrainingConfig, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of every step of a whole training.

      constant     lr
      piecewise    lr * drop_factor^(number of drop_epochs passed)
      exponential  lr * decay_rate^floor(epoch / decay_epochs)         (whole epochs, a staircase)
      cosine       end + (lr - end) (1 + cos(pi epoch / epochs)) / 2   (whole epochs)

    times step / warm-up steps while these last. The piecewise schedule's epochs are those of `schedule_examples`
    examples where that is given.

    Args:
      config: schedule, learning rate with the factor k, and the schedule's constants.
      steps_per_epoch: at least 1.

    Returns: float32 [epochs * steps_per_epoch], at least one entry.

    Source: Casper et al. 2021 (exponential, piecewise, warm-up); Doimo et al. 2022 (cosine); FACTS 4 and 14.2.
    Differs: TensorFlow 1's piecewise rates drop one step later, after the boundary's own step.
    """
    step = np.arange(max(config.epochs, 1) * steps_per_epoch)
    epoch = step // steps_per_epoch
    start = config.effective_learning_rate
    if config.schedule == "constant":
        rates = np.full(len(step), start)
    elif config.schedule == "exponential":
        rates = start * config.decay_rate ** (epoch // config.decay_epochs)
    elif config.schedule == "cosine":
        end = config.final_learning_rate
        rates = end + (start - end) * (1 + np.cos(np.pi * epoch / max(config.epochs, 1))) / 2
    else:
        examples = config.schedule_examples or steps_per_epoch * config.effective_batch_size
        boundaries = np.floor(np.asarray(config.drop_epochs) * examples / config.effective_batch_size)
        rates = start * config.drop_factor ** np.searchsorted(np.sort(boundaries), step, side="right")
    warmup_steps = config.warmup_epochs * steps_per_epoch
    return (rates * np.minimum(1, step / warmup_steps if warmup_steps else 1)).astype("float32")
