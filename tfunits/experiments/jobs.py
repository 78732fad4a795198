"""What a launcher is given: runs that are left, and the batches that they make for its workers."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

from tfunits.configs import Cost, ExperimentConfig, sum_costs
from tfunits.experiments.batches import make_batches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One run that is left.

    Attributes:
      config: the experiment.
      name: of the run.
      label: what a line about it begins with.
      cost: of what is left of it.
      memory: bytes that its process needs.
    """

    config: ExperimentConfig
    name: str
    label: str
    cost: Cost
    memory: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Runs that one worker carries out together."""

    jobs: tuple[Job, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its runs."""
        return tuple(job.name for job in self.jobs)

    @cached_property
    def work(self) -> float:
        """Estimated hours of one CPU core."""
        return sum_costs([[job.cost for job in self.jobs]]).cpu_hours

    @property
    def memory(self) -> int:
        """Bytes that its process needs."""
        return max(job.memory for job in self.jobs)


def batch_jobs(jobs: Sequence[Job], num_workers: int) -> list[Batch]:
    """The batches of some runs, for that many workers."""
    by_config = {id(job.config): job for job in jobs}
    configs = [job.config for job in jobs]
    parts = make_batches(configs, num_workers, lambda config: by_config[id(config)].cost.cpu_hours)
    return [Batch(jobs=tuple(by_config[id(config)] for config in part)) for part in parts]
