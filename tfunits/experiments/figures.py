"""Figures of papers, from training to plot."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator

from tfunits import reports
from tfunits.artifacts import RunDir
from tfunits.configs import (
    Cluster,
    ExperimentConfig,
    Request,
    UserError,
    estimate_cost,
    parse_margins,
    run_id,
    shrink_measuring,
)
from tfunits.experiments.drawn import is_visualized, read_drawn_run
from tfunits.experiments.printing import export_results
from tfunits.experiments.runner import run_grid
from tfunits.reports import figures
from tfunits.reports.figures import Figure, Runs, Source

_EXIT_FAILED = 1
# Below --run_root.
_FOLDER = "figures"


def carry_out_figure(request: Request, cluster: Cluster | None = None) -> int:
    """Run the grid of a figure, and draw it; of a shard of the grid nothing is drawn.

    Args:
      request: that names a figure.
      cluster: machines that train together; None for this one.

    Returns: 0 if all is finished and drawn, else 1.
    """
    figure, code, further_code = figures.FIGURES[request.figure], 0, 0
    if request.execution.margins and not figure.claims:
        print(f"{figure.name}: no claims, for which --margins would count", file=sys.stderr, flush=True)
    if request.is_small:
        figure = figure.measured_as(shrink_measuring)
    if request.execution.only_reports or figure.source == Source.SETTINGS:
        _export(request)
    else:
        code = run_grid(request.experiments, request.execution, cluster=cluster)
        if request.execution.shard is not None:
            return code
        for experiments in _further_experiments(figure, request):
            execution = dataclasses.replace(request.execution, steps=("measure",), export=None)
            further_code = max(further_code, run_grid(experiments, execution, cluster=cluster))
    if cluster and not cluster.is_chief:
        return max(code, further_code)
    # A candidate that diverged is merely not chosen; one that failed is missing.
    return max(0 if figure.choose else code, further_code, _draw(figure, request))


def _export(request: Request) -> None:
    """Export the runs that are there, where that is asked for: no grid's end does."""
    if request.execution.export is not None:
        found, _ = reports.read_runs(_find_begun(request), request.experiments[0].measure, dynamics=True)
        export_results(found, request.experiments[0].measure, request.execution)


def _find_begun(request: Request) -> list[RunDir]:
    run_dirs = [RunDir.of(config, request.execution.run_root) for config in request.experiments]
    return [run_dir for run_dir in run_dirs if run_dir.config_file.is_file()]


def _read(figure: Figure, request: Request) -> tuple[Runs, dict[str, str]]:
    """The runs of a figure; and name of a run that cannot be drawn -> why."""
    if figure.source == Source.SETTINGS:
        return _describe(request), {}
    if figure.source == Source.IMAGES:
        return _read_images(request)
    measure = request.experiments[0].measure
    found, damaged = reports.read_runs(_find_begun(request), measure)
    records = [record for record in found if record.accuracy or record.state == "diverged"]
    whole = {record.run_dir.name for record in records}
    names = [run_id(config) for config in request.experiments]
    missing = {name: "it is missing" for name in names if name not in whole}
    return Runs(records=records, measure=measure), missing | damaged


def _read_beside(figure: Figure, runs: Runs, request: Request) -> Runs:
    """The runs of a figure, with those of other figures in the same root that its claims speak of."""
    networks = {figures.CLAIMS[name].beside for name in figure.claims} - {None}
    own = {config.model.model for config in request.experiments}
    if not networks - own:
        return runs
    begun = [
        run_dir
        for run_dir in reports.find_runs(request.execution.run_root)
        if any(run_dir.name.startswith(f"{network}-") for network in networks - own)
    ]
    # The number of rows is the figure's own; damaged runs are named where they are drawn.
    found, _ = reports.read_runs(begun, dataclasses.replace(runs.measure, measured_examples=None))
    return dataclasses.replace(runs, beside=[record for record in found if record.accuracy])


def _read_images(request: Request) -> tuple[Runs, dict[str, str]]:
    drawn, left_out = [], {}
    for config in request.experiments:
        run_dir = RunDir.of(config, request.execution.run_root)
        try:
            if is_visualized(run_dir, config):
                drawn.append(read_drawn_run(run_dir, config))
            else:
                left_out[run_dir.name] = "it is missing"
        except UserError as error:
            left_out[run_dir.name] = str(error)
    return Runs(records=[], drawn=drawn), left_out


def _describe(request: Request) -> Runs:
    """The settings of runs that need not be there, and how many parameters their networks have."""
    records = [
        reports.RunRecord(
            run_dir=RunDir.of(config, request.execution.run_root), config=config, state="new", accuracy={}, curves={},
            statistics={},
        )
        for config in request.experiments
    ]  # fmt: skip
    counts = {record.run_dir.name: estimate_cost(record.config, ()).parameters for record in records}
    return Runs(records=records, num_parameters=counts)


def _further_experiments(figure: Figure, request: Request) -> Iterator[list[ExperimentConfig]]:
    """Of every further way of measuring, the chosen runs measured so."""
    if not figure.further:
        return
    runs, _ = _read(figure, request)
    chosen = figure.choose(runs) if figure.choose else runs
    for fields in figure.further:
        measure = dataclasses.replace(request.experiments[0].measure, **fields)
        yield [dataclasses.replace(record.config, measure=measure) for record in chosen.records if record.accuracy]


def _draw(figure: Figure, request: Request) -> int:
    """Draw a figure and say what its claims give; 1 if runs are missing or damaged, which are named.

    Raises:
      UserError: runs that may not be averaged.
    """
    runs, left_out = _read(figure, request)
    for problem in dict.fromkeys(left_out.values()):
        names = reports.name_runs(name for name, why in left_out.items() if why == problem)
        print(f"{figure.name}: left out: {names}: {problem}", file=sys.stderr, flush=True)
    if request.execution.only_reports and left_out:
        print(f"{figure.name}: without --steps=report, what is missing is run", file=sys.stderr, flush=True)
    reports.check_mixture(runs.records)
    folder = pathlib.Path(request.execution.run_root) / _FOLDER
    files = figures.draw_figure(figure, runs, folder)
    margins = parse_margins(request.execution.margins or ())
    claims, more = figures.report_claims(figure, _read_beside(figure, runs, request), folder, margins)
    if claims:
        print(f"what the papers claim about it, and what these runs say:\n{claims}", flush=True)
    print(f"figure:        {', '.join(map(str, [*files, *more]))}", flush=True)
    return _EXIT_FAILED if left_out else 0
