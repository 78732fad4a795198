"""The README's table of figures says what the flagfiles say (`benchmarks/figure_costs.py` writes both)."""

import pathlib
import re

import pytest

from tfunits.configs import find_flagfiles, list_figures

README = pathlib.Path(__file__).parents[2] / "README.md"
ROWS = [line.split(" | ") for line in README.read_text().splitlines() if re.match(r"\| `\w+/\w+`", line)]
NAMES = [re.findall(r"`(\w+/\w+)`", row[0]) for row in ROWS]


def test_every_figure_has_one_row():
    assert sorted(name for names in NAMES for name in names) == sorted(list_figures())


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_rows_join_figures_of_equal_flags_and_state_their_runs(number):
    row, names = ROWS[number], NAMES[number]
    texts = [find_flagfiles(name)[name].read_text() for name in names]
    assert len({tuple(line for line in text.splitlines() if line.startswith("--")) for text in texts}) == 1
    for text in texts:
        assert f"# Runs: {row[1]}; {row[4]} with --small.\n" in text
