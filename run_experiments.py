#!/usr/bin/env python3
"""Train networks, measure what their units do, draw it: one run, or a grid of them."""

import pathlib
import sys

from tfunits import __version__
from tfunits.configs import DATASETS, MODELS, UNSUPPORTED_DATASETS, ExperimentConfig, UserError
from tfunits.configs import flags as command_line

USAGE = "python run_experiments.py [--flag=value ...]     e.g. --model=resnet18 --size=2"
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def describe_data(config: ExperimentConfig, *, dataset_given: bool) -> str:
    """The first line of a run: which data it uses, and which the papers used for the network."""
    data = DATASETS[config.data.dataset]
    chosen = "" if dataset_given else ", the embedded default"
    line = f"data: {config.data.dataset}{chosen} ({data.description})"
    if config.model.is_file:
        return line
    papers = MODELS[config.model.model]
    later = ", which this version cannot read" if papers.papers_dataset_name in UNSUPPORTED_DATASETS else ""
    flag = f"--dataset={papers.papers_dataset_name}{later}"
    return f"{line}; the papers trained {config.model.model} on {papers.papers_dataset} ({flag})"


def main(argv: list[str]) -> int:
    """Carry out a command line; returns the exit code."""
    registry = command_line.make_flags()
    try:
        command_line.parse(registry, argv)
        if registry["help"].value:
            print(command_line.help_text(registry, USAGE))
            return 0
        if registry["version"].value:
            print(f"tfunits {__version__}")
            return 0
        request = command_line.read_command_line(registry)
        data_dir = request.execution.data_dir
        if data_dir is not None and not pathlib.Path(data_dir).is_dir():
            raise UserError(f"--data_dir={data_dir}: expected an existing folder")
        first = request.experiments[0]
        print(describe_data(first, dataset_given=request.dataset_given), flush=True)
        from tfunits.experiments.quiet import import_tensorflow

        import_tensorflow()
        from tfunits import experiments

        if request.plan:
            experiments.plan_grid(request.experiments, request.execution)
            return 0
        return experiments.run_grid(request.experiments, request.execution)
    except UserError as error:
        print(f"run_experiments.py: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv))
