"""What a grid's end says: tables, notes and where the results are."""

import itertools
import pathlib
import sys
from collections.abc import Mapping, Sequence

from tfunits import reports
from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, ExperimentConfig, MeasureConfig, UserError, identity, run_id, short_hash
from tfunits.experiments.drawn import read_drawn_run


def print_results(experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> bool:
    """Tables of a run, or of a grid with its report, and where they lie; all numbers as a file where that is asked for.

    Returns: whether every run could be read and, in a grid, averaged; what could not is named on stderr.
    """
    measure = experiments[0].measure
    wanted = {run_id(config): config for config in experiments}
    run_dirs = [RunDir.of(config, execution.run_root) for config in experiments]
    found, damaged = reports.read_runs(run_dirs, measure, dynamics=execution.export is not None)
    is_own = [identity(record.config) == identity(wanted[record.run_dir.name]) for record in found]
    records = list(itertools.compress(found, is_own))
    damaged |= {r.run_dir.name: "it holds another experiment" for r, own in zip(found, is_own, strict=True) if not own}
    for name, problem in damaged.items():
        print(f"left out of the results: {name}: {problem}", file=sys.stderr, flush=True)
    refusal = ""
    print()
    if len(experiments) > 1:
        refusal = _print_grid(experiments, execution, records, damaged)
    elif records:
        _print_run(records[0], experiments, execution)
    if refusal:
        print(refusal, file=sys.stderr, flush=True)
    if execution.export is not None:
        export_results(records, measure, execution)
    print(f"TensorBoard:   tensorboard --logdir {execution.run_root}")
    return not damaged and not refusal


def export_results(records: Sequence[reports.RunRecord], measure: MeasureConfig, execution: ExecutionConfig) -> None:
    """Write all numbers of runs as the file that `--export` names, and say where it is."""
    path = reports.export_frame(execution.export, reports.tabulate_settings(records, measure))
    print(f"exported:      {path}", flush=True)


def _print_run(record: reports.RunRecord, experiments: Sequence[ExperimentConfig], execution: ExecutionConfig) -> None:
    measure = experiments[0].measure
    table = reports.run_table(record, measure)
    if len(table):
        print(reports.format_table(table))
        print("\n".join(reports.run_notes(record, measure)) + "\n")
    for name, more in reports.further_tables(record, measure).items():
        print(f"{name}\n{reports.format_table(more)}\n")
    _print_drawings(experiments, execution)
    _print_accuracies(record)
    print(f"run directory: {record.run_dir.path}")


def _print_grid(
    experiments: Sequence[ExperimentConfig],
    execution: ExecutionConfig,
    records: Sequence[reports.RunRecord],
    damaged: Mapping[str, str],
) -> str:
    """Tables and files of a grid; returns why nothing was averaged, if so."""
    measure, root = experiments[0].measure, pathlib.Path(execution.run_root)
    if not records:
        return ""
    folder = root / f"grid-{short_hash([run_id(config) for config in experiments])}"
    grid = reports.report_grid(records, measure, folder, untrained=reports.find_untrained(records, root, measure))
    print(reports.format_table(grid.table.dropna(axis=1, how="all"), index=False))
    if len(grid.gains):
        print("\ngains per doubling of width:")
        print(reports.format_table(grid.gains, index=False))
    if grid.notes:
        print("\n" + "\n".join(grid.notes))
    drawn = _print_drawings(experiments, execution, folder)
    page = reports.write_grid_page(folder, grid, records, measure, command=sys.argv, damaged=damaged, files=drawn)
    print(f"\ngrid report: {', '.join(str(path) for path in (*grid.files, *drawn, page))}")
    return grid.refusal


def _print_drawings(
    experiments: Sequence[ExperimentConfig], execution: ExecutionConfig, folder: pathlib.Path | None = None
) -> list[pathlib.Path]:
    """Tables of what was drawn, and of a grid the width test, whose files are returned."""
    if "visualize" not in (execution.steps or ()):
        return []
    options = experiments[0].visualization
    runs = []
    for config in experiments:
        try:
            runs.append(read_drawn_run(RunDir.of(config, execution.run_root), config))
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr, flush=True)
    for run in runs:
        if run.drawings:
            print(f"\nimages of {run.name} (total variation: {options.variation})")
            print(reports.format_drawings(reports.drawing_table(run.drawings, options.variation)))
    text, files = reports.report_widths(runs, options, folder) if folder else ("", [])
    if text:
        print(f"\nthin against wide networks:\n{text}")
    sheets = [RunDir(pathlib.Path(execution.run_root) / run.name).figures for run in runs if run.drawings]
    if sheets:
        print(f"\nsheets of images: {sheets[0]}" + (f" and {len(sheets) - 1} more" if len(sheets) > 1 else ""))
    return files


def _print_accuracies(record: reports.RunRecord) -> None:
    if record.accuracy:
        values = ", ".join(f"{split} {scores['accuracy']:.4f}" for split, scores in record.accuracy.items())
        print(f"accuracy:      {values}")
    elif record.run_dir.is_done("train") and (last := record.run_dir.read_done("train").get("history")):
        shown = {name: value for name, value in last.items() if name.endswith(("_accuracy", "_loss"))}
        print(
            f"last epoch:    {', '.join(f'{name} {value:.4f}' for name, value in shown.items() if value is not None)}"
        )
    if record.chosen_weight_decay is not None:
        print(f"weight decay:  {record.chosen_weight_decay:g}, chosen by validation")
