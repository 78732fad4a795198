#!/usr/bin/env python3
"""Train networks, measure what their units do, draw it: one run, or a grid of them."""

import os
import signal
import sys

from tfunits import __version__
from tfunits.configs import flags as command_line
from tfunits.configs import parse_cluster
from tfunits.console import carry_out

USAGE = "python run_experiments.py [--flag=value ...]     e.g. --model=resnet18 --size=2"


def main(argv: list[str]) -> int:
    """Carry out a command line; returns the exit code."""
    return carry_out(
        "run_experiments.py", lambda: _run(argv), when_interrupted="interrupted; the same command continues"
    )


def _run(argv: list[str]) -> int:
    registry = command_line.make_flags()
    command_line.parse(registry, argv)
    if registry["help"].value:
        print(command_line.help_text(registry, USAGE), flush=True)
        return 0
    if registry["version"].value:
        print(f"tfunits {__version__}")
        return 0
    requests = command_line.read_requests(registry, argv)
    for text in dict.fromkeys(request.describe_data() for request in requests):
        print(text, flush=True)
    if len(requests) == 1:
        requests[0].check_data()
    # Schedulers of jobs end them so; the run is then marked interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = parse_cluster(os.environ.pop("TF_CONFIG", None))
    from tfunits import experiments

    return experiments.carry_out_requests(requests, cluster=cluster)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
