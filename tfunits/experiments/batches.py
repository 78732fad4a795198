"""Which runs are carried out together. Nothing here needs TensorFlow."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from tfunits.configs import ExperimentConfig, canonical_json
from tfunits.configs.same_steps import same_steps

# A batch is lost as a whole to a worker that dies; longer ones save no time that counts.
_LARGEST_BATCH = 32
# At least, where there is work for so many: the last ones end together.
_BATCHES_OF_A_WORKER = 4


def make_batches(
    experiments: Sequence[ExperimentConfig],
    num_workers: int = 1,
    work: Callable[[ExperimentConfig], float] | None = None,
) -> list[list[ExperimentConfig]]:
    """Runs that belong together, in order of their first: the unit of work that a launcher gives to a worker.

    Runs of one batch differ only in values, so that one compiled training serves them all. Several workers share such
    runs where these are a large part of all work; otherwise each of them would compile what one compiles for all.

    Args:
      experiments: of a grid.
      num_workers: how many work at once.
      work: what a run takes, in any unit, not negative; the same for all if None.
    """
    groups: dict[str, list[ExperimentConfig]] = {}
    for config in experiments:
        groups.setdefault(sharing_key(config), []).append(config)
    works = [sum(work(config) if work else 1.0 for config in group) for group in groups.values()]
    # What a batch should take at most.
    fair = sum(works) / (_BATCHES_OF_A_WORKER * num_workers)
    batches = []
    for group, own in zip(groups.values(), works, strict=True):
        parts = max(1, min(num_workers, math.ceil(own / fair))) if fair else 1
        count = min(_LARGEST_BATCH, -(-len(group) // parts))
        batches += [group[first : first + count] for first in range(0, len(group), count)]
    return batches


def sharing_key(config: ExperimentConfig) -> str:
    """Equal for runs that one compiled training serves: same network but for its initial weights, same data."""
    model = dataclasses.replace(config.model, initializer=None, init_scale=1.0)
    sections = [dataclasses.asdict(model), dataclasses.asdict(config.data)]
    return canonical_json([*sections, same_steps(config.training)])
