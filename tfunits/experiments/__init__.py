"""The steps of one experiment and a grid of them; the only writer of a run's results.

Names load when they are first used, so that a program can import TensorFlow quietly (`tfunits.console`) before.
"""

import importlib
from typing import Any

_MODULES = {
    "STEP_FUNCTIONS": "steps",
    "carry_out_requests": "requests",
    "Run": "run",
    "load_file": "load",
    "load_model": "load",
    "measure_files": "measured_files",
    "plan_grid": "plan",
    "make_deterministic": "launchers.task",
    "run_grid": "runner",
    "is_step_done": "done",
    "steps_of": "done",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"tfunits.experiments.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'tfunits.experiments' has no attribute {name!r}")
