"""Independent Gaussian inputs, labelled by a random teacher network."""

import numpy as np

from tfunits.configs import DATASETS, DataConfig
from tfunits.datasets.dataset import Dataset, Split

# Casper et al. 2021, section 4: the teacher is a network of a quarter of the base width.
_TEACHER_HIDDEN_UNITS = 32
# Labels do not depend on it, since the teacher has no biases.
_TEACHER_STD = 1e-2
_BALANCE_INPUTS = 10_000
_BALANCE_RANGE = (0.4, 0.6)
# Streams of random numbers of one data seed.
_STREAMS = {"train": 0, "validation": 1, "test": 2, "teacher": 3, "balance": 4}


def generate_rows(data_seed: int, stream: str, first: int, count: int, dimensions: int) -> np.ndarray:
    """Rows of independent standard normal numbers; row i depends on (data_seed, stream, i) alone.

    Args:
      data_seed: seed of the data.
      stream: "train", "validation", "test" or "balance".
      first: index of the first row.
      count: number of rows.
      dimensions: numbers per row.

    Returns: float32 [count, dimensions].
    """
    rows = np.empty((count, dimensions), np.float32)
    for i in range(count):
        bits = np.random.Philox(key=[data_seed, _STREAMS[stream]], counter=[0, 0, 0, first + i])
        rows[i] = np.random.Generator(bits).standard_normal(dimensions, np.float32)
    return rows


class Teacher:
    """One hidden ReLU layer and two outputs, all weights random and no biases.

    Redrawn until each label has 40 to 60 % of 10,000 fresh inputs.

    Args:
      data_seed: seed of the data.
      dimensions: number of inputs.
    """

    def __init__(self, data_seed: int, dimensions: int) -> None:
        attempt = 0
        balance = generate_rows(data_seed, "balance", 0, _BALANCE_INPUTS, dimensions)
        while True:
            generator = np.random.default_rng([data_seed, _STREAMS["teacher"], dimensions, attempt])
            self.hidden = _truncated_normal(generator, (dimensions, _TEACHER_HIDDEN_UNITS))
            self.output = _truncated_normal(generator, (_TEACHER_HIDDEN_UNITS, 2))
            share = self.label(balance).mean()
            if _BALANCE_RANGE[0] <= share <= _BALANCE_RANGE[1]:
                return
            attempt += 1

    def label(self, inputs: np.ndarray) -> np.ndarray:
        """Labels 0 or 1 of inputs [examples, dimensions], int32 [examples]."""
        return np.argmax(np.maximum(inputs @ self.hidden, 0) @ self.output, axis=1).astype("int32")


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Normal numbers with those beyond two standard deviations drawn again, float32."""
    values = generator.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = generator.standard_normal(beyond.sum())
    return (_TEACHER_STD * values).astype(np.float32)


def load(config: DataConfig) -> Dataset:
    """Training, validation (as many) and test rows, and their teacher's labels.

    Source: Casper et al. 2021, section 4; FACTS 3.2.
    Differs: the authors' program prints the balance of the labels without enforcing it.
    """
    (dimensions,) = DATASETS[config.dataset].preprocessings["gaussian"]
    teacher = Teacher(config.data_seed, dimensions)
    counts = {"train": config.num_train, "validation": config.num_train, "test": config.num_test}
    splits = {}
    for name, count in counts.items():
        inputs = generate_rows(config.data_seed, name, 0, count, dimensions)
        splits[name] = Split(inputs=inputs, labels=teacher.label(inputs))
    return Dataset(name=config.dataset, num_classes=2, splits=splits)
