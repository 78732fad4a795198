"""Which runs are carried out together. Nothing here needs TensorFlow."""

import dataclasses
from collections.abc import Sequence

from tfunits.configs import ExperimentConfig, canonical_json
from tfunits.configs.same_steps import same_steps

# A batch is lost as a whole to a worker that dies; longer ones save no time that counts.
_LARGEST_BATCH = 32
# At least, where there are runs for so many.
_BATCHES_OF_A_WORKER = 4


def make_batches(experiments: Sequence[ExperimentConfig], num_workers: int = 1) -> list[list[ExperimentConfig]]:
    """Runs that belong together, in order of their first: the unit of work that a launcher gives to a worker.

    Runs of one batch differ only in values, so that one compiled training serves them all. Several workers share such
    runs where there is little else to do; otherwise each of them would compile what one compiles for all.

    Args:
      experiments: of a grid.
      num_workers: how many work at once.
    """
    groups: dict[str, list[ExperimentConfig]] = {}
    for config in experiments:
        groups.setdefault(sharing_key(config), []).append(config)
    batches = []
    # So small that no worker is left with a long batch when the others have done.
    fair = -(-len(experiments) // (num_workers * _BATCHES_OF_A_WORKER)) if num_workers > 1 else len(experiments)
    for group in groups.values():
        count = min(_LARGEST_BATCH, max(fair, -(-len(group) // num_workers)))
        batches += [group[first : first + count] for first in range(0, len(group), count)]
    return batches


def sharing_key(config: ExperimentConfig) -> str:
    """Equal for runs that one compiled training serves: same network but for its initial weights, same data."""
    model = dataclasses.replace(config.model, initializer=None, init_scale=1.0)
    sections = [dataclasses.asdict(model), dataclasses.asdict(config.data)]
    return canonical_json([*sections, same_steps(config.training)])
