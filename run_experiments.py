#!/usr/bin/env python3
"""Train networks, measure what their units do, draw it: one run, or a grid of them."""

import os
import signal
import sys

from tfunits import __version__
from tfunits.configs import UserError, parse_cluster
from tfunits.configs import flags as command_line

USAGE = "python run_experiments.py [--flag=value ...]     e.g. --model=resnet18 --size=2"
EXIT_USER_ERROR = 2
EXIT_STOPPED = 130


def main(argv: list[str]) -> int:
    """Carry out a command line; returns the exit code."""
    registry = command_line.make_flags()
    try:
        command_line.parse(registry, argv)
        if registry["help"].value:
            print(command_line.help_text(registry, USAGE), flush=True)
            return 0
        if registry["version"].value:
            print(f"tfunits {__version__}")
            return 0
        request = command_line.read_command_line(registry)
        print(request.describe_data(), flush=True)
        request.check_data()
        # Schedulers of jobs end them so; the run is then marked interrupted.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        cluster = parse_cluster(os.environ.pop("TF_CONFIG", None))
        from tfunits.quiet import import_tensorflow

        import_tensorflow()
        from tfunits import experiments

        if request.plan:
            experiments.plan_grid(request.experiments, request.execution)
            return 0
        return experiments.run_grid(request.experiments, request.execution, cluster=cluster)
    except UserError as error:
        print(f"run_experiments.py: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what Python flushes at its end must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_STOPPED
    except OSError as error:
        print(f"run_experiments.py: {error.strerror}: {error.filename}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv))
