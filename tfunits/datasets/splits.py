"""Which examples are training, validation and test ones: disjoint index sets drawn from the data seed."""

import numpy as np

from tfunits.configs import DataConfig, UserError, reject

# Keeps the draw of validation examples apart from everything else that a data seed decides.
_DIVISION_STREAM = 0xD1F1DE
# A pool smaller than the published one keeps at most this share of itself as validation examples, unless told.
_LARGEST_DEFAULT_SHARE = 0.1


def divide(config: DataConfig, count: int, order: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Disjoint training and validation indices of a pool of examples.

    Validation examples do not depend on the number of training ones, and smaller training sets lie inside larger ones.
    With `config.split` "ordered" the last examples of the pool are validation and the first ones are training.

    Args:
      config: how many are asked for, and the data seed.
      count: examples in the pool.
      order: a random order of the pool from which the sets are taken; drawn from the data seed if None.

    Returns: "train" and "validation" -> sorted indices.

    Raises:
      UserError: more examples asked for than there are.
    """
    if config.validation_examples is None:
        num_validation = min(config.num_validation, int(count * _LARGEST_DEFAULT_SHARE))
    else:
        num_validation = config.validation_examples
    if num_validation >= count:
        raise reject("validation_examples", num_validation, f"fewer than the {count} training images prepared here")
    num_train = config.num_examples or count - num_validation
    if num_train > count - num_validation:
        raise reject("num_examples", num_train, f"at most the {count - num_validation} training examples prepared here")
    if config.split == "ordered":
        return {"train": np.arange(num_train), "validation": np.arange(count - num_validation, count)}
    if order is None:
        order = np.random.default_rng([config.data_seed, _DIVISION_STREAM]).permutation(count)
    validation, train = order[:num_validation], order[num_validation : num_validation + num_train]
    return {"train": np.sort(train), "validation": np.sort(validation)}


def interleave_classes(index: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The indices in a random order in which every start holds the classes in their shares.

    Args:
      index: of some examples.
      labels: [examples], of all examples.
      generator: of the order.
    """
    shuffled = generator.permutation(index)
    place = np.empty(len(shuffled))
    for label in np.unique(labels[shuffled]):
        members = np.flatnonzero(labels[shuffled] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(place, kind="stable")]


def check_labels(labels: np.ndarray, num_classes: int, path: object) -> None:
    """Raise `UserError` unless all labels are classes.

    Args:
      labels: integers.
      num_classes: labels are 0 .. num_classes - 1.
      path: of the file that holds them, in order.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise UserError(
            f"{path}: expected labels from 0 to {num_classes - 1}, received {labels[wrong[0]]} in example "
            f"{wrong[0] + 1}; prepare the data again"
        )
