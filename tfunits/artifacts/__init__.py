"""The run directory: files that are whole or absent, provenance, lock, event files."""

from tfunits.artifacts.events import EventWriter
from tfunits.artifacts.files import (
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_figure,
    write_json,
    write_table,
    write_text,
)
from tfunits.artifacts.provenance import code_revision, describe_environment
from tfunits.artifacts.run_dir import STATES, RunDir

__all__ = [
    "STATES",
    "EventWriter",
    "RunDir",
    "code_revision",
    "describe_environment",
    "read_arrays",
    "read_json",
    "replacing",
    "write_arrays",
    "write_figure",
    "write_json",
    "write_table",
    "write_text",
]
