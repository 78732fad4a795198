"""What the papers' figures cost: writes the lines "Runs" and "Cost" of flagfiles, and the table of the README.

Estimated from configurations alone, as `--plan` does; nothing is run. The README's table has a row for figures of
equal flags, which share their runs; flagfiles of `redundant` state their costs in their own words. To be called after a
change of flagfiles, recipes or `configs/costs.py`:

    python benchmarks/figure_costs.py
    python benchmarks/figure_costs.py --check
"""

import argparse
import dataclasses
import pathlib
import re
import sys

from tfunits.configs import Cost, Request, estimate_cost, find_flagfiles, list_figures, sum_costs
from tfunits.configs import flags as command_line
from tfunits.experiments.batches import make_batches
from tfunits.experiments.plan import describe_cost
from tfunits.reports.figures import FIGURES, Source

README = pathlib.Path(__file__).parents[1] / "README.md"
# What `estimate_cost` counts.
_COUNTED = ("train", "measure", "report")
_TABLE_HEAD = "| figures | runs | one CPU core | 8 GPUs | with `--small`: runs | one CPU core | status |"
_IN_OWN_WORDS = "redundant/"
_NOTHING = "nothing is run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """A figure's command, full or small: its runs, and what they cost."""

    request: Request
    cost: Cost

    @property
    def num_runs(self) -> int:
        """How many."""
        return len(self.request.experiments)


def read_form(name: str, *flags: str) -> Form:
    """The command of a figure, read and costed."""
    registry = command_line.make_flags()
    argv = ["run_experiments.py", f"--figure={name}", *flags]
    command_line.parse(registry, argv)
    [request] = command_line.read_requests(registry, argv)
    steps = request.execution.steps or _COUNTED
    batches = make_batches(request.experiments)
    return Form(
        request=request, cost=sum_costs([[estimate_cost(config, steps) for config in each] for each in batches])
    )


def describe_flagfile(full: Form, small: Form, *, is_run: bool) -> list[str]:
    """The lines of a flagfile."""
    runs = f"# Runs: {full.num_runs:,}; {small.num_runs:,} with --small."
    if not is_run:
        return [runs, f"# Cost: {_NOTHING}."]
    uncounted = [step for step in full.request.execution.steps or () if step not in _COUNTED]
    without = f" ({' and '.join(uncounted)} not counted)" if uncounted else ""
    numbers, hours = describe_cost(full.cost).split("; ")
    of_small = _hours(small, "a CPU core")
    return [runs, f"# Cost: {numbers}{without}.", f"# Cost in time: {hours}; with --small {of_small} on a CPU core."]


def replace_lines(text: str, lines: list[str]) -> str:
    """A flagfile with these lines in place of its old ones, at the end of its comment."""
    kept = [line for line in text.splitlines() if not re.match(r"# (Runs|Cost)\b", line)]
    end = next(number for number, line in enumerate(kept) if line.startswith("--"))
    return "\n".join([*kept[:end], *lines, *kept[end:]]) + "\n"


def describe_status(full: Form, *, is_run: bool) -> str:
    """Whether a full form runs anywhere, or which data it waits for."""
    if not is_run:
        return _NOTHING
    data = (config.data for config in full.request.experiments)
    missing = {each.dataset for each in data if not each.dataset_facts.embedded}
    return f"full form needs {', '.join(sorted(missing))}" if missing else "needs no download"


def make_table(forms: dict[str, tuple[Form, Form]], files: dict[str, pathlib.Path]) -> list[str]:
    """The README's table: a row for figures of equal flags."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, path in files.items():
        groups.setdefault(tuple(line for line in path.read_text().splitlines() if line.startswith("--")), []).append(
            name
        )
    rows = [_TABLE_HEAD, "|---|--:|--:|--:|--:|--:|---|"]
    for names in groups.values():
        full, small = forms[names[0]]
        is_run = FIGURES[names[0]].source != Source.SETTINGS
        cells = [", ".join(f"`{name}`" for name in names), f"{full.num_runs:,}"]
        cells += [_hours(full, "a CPU core"), _hours(full, "8"), f"{small.num_runs:,}", _hours(small, "a CPU core")]
        if not is_run:
            cells[2:4], cells[5] = ["-", "-"], "-"
        rows.append("| " + " | ".join([*cells, describe_status(full, is_run=is_run)]) + " |")
    return rows


def _hours(form: Form, where: str) -> str:
    """The estimate of one device, as `describe_cost` words it."""
    found = re.search(rf"(?:about |, )([\d.,]+ \w+) on {where}(?:,|$)", describe_cost(form.cost))
    return found[1] if found else "?"


def replace_table(text: str, rows: list[str]) -> str:
    """The README with these rows in place of its table."""
    lines = text.splitlines()
    start = lines.index(_TABLE_HEAD)
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    return "\n".join([*lines[:start], *rows, *lines[end:]]) + "\n"


def main() -> int:
    """Write, or compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where something has changed")
    check = parser.parse_args().check
    files = {name: find_flagfiles(name)[name] for name in list_figures()}
    forms = {name: (read_form(name), read_form(name, "--small")) for name in files}
    texts = {
        path: replace_lines(path.read_text(), describe_flagfile(*forms[name], is_run=_is_run(name)))
        for name, path in files.items()
        if not name.startswith(_IN_OWN_WORDS)
    }
    texts[README] = replace_table(README.read_text(), make_table(forms, files))
    changed = [path for path, text in texts.items() if path.read_text() != text]
    for path in changed:
        print(f"{path.name}: {'has changed' if check else 'written'}")
        if not check:
            path.write_text(texts[path])
    return 1 if check and changed else 0


def _is_run(name: str) -> bool:
    return FIGURES[name].source != Source.SETTINGS


if __name__ == "__main__":
    sys.exit(main())
