"""What a command line asks for, once it is read."""

import dataclasses
import json
import pathlib

from tfunits.configs import facts
from tfunits.configs.errors import UserError
from tfunits.configs.experiment import ExecutionConfig, ExperimentConfig
from tfunits.configs.prepared import DOWNLOAD_HOSTS, describe_missing, is_prepared
from tfunits.configs.resolve import run_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a command line asks for.

    Attributes:
      experiments: the runs of the grid, each once.
      execution: where and how they are carried out.
      plan: whether only the grid is to be printed.
      dataset_given: whether the data set was chosen, or is the embedded default.
      figure: the figure of a paper that is drawn of the runs; None without.
      is_small: whether the runs are the grid's small form.
    """

    experiments: tuple[ExperimentConfig, ...]
    execution: ExecutionConfig
    plan: bool
    dataset_given: bool
    figure: str | None = None
    is_small: bool = False

    def describe_data(self) -> str:
        """The first lines of a run, one a network and data set: which data, and which the papers used."""
        return "\n".join(dict.fromkeys(self._describe(config) for config in self.experiments))

    def _describe(self, config: ExperimentConfig) -> str:
        data = config.data.dataset_facts
        chosen = ", the embedded default" if data.embedded and not self.dataset_given else ""
        line = f"data: {config.data.dataset}{chosen} ({data.description})"
        if config.model.is_file:
            return line
        papers = facts.MODELS[config.model.model]
        if config.data.dataset in papers.papers_dataset_name.split(" or "):
            return line
        flag = f"--dataset={papers.papers_dataset_name}"
        return f"{line}; the papers trained {config.model.model} on {papers.papers_dataset} ({flag})"

    def check_data(self) -> None:
        """Raise `UserError` with the command that prepares it if a run's data set is not there and is to be read."""
        if self.plan or self.execution.only_reports:
            return
        for config in self.experiments:
            if self.execution.download and config.data.dataset_facts.prepared in DOWNLOAD_HOSTS:
                continue
            if not is_prepared(config.data.dataset, self.execution.data_dir) and not self._is_finished(config):
                raise UserError(
                    describe_missing(config.data.dataset, self.execution.data_dir, download=self.execution.download)
                )

    def _is_finished(self, config: ExperimentConfig) -> bool:
        """Whether a run's own status says so: it reads no data again."""
        try:
            status = json.loads((pathlib.Path(self.execution.run_root) / run_id(config) / "status.json").read_text())
        except (OSError, ValueError):
            return False
        return isinstance(status, dict) and status.get("state") == "finished"
