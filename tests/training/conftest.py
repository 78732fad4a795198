"""Shared by the tests of training."""

import importlib

import pytest

trainer_module = importlib.import_module("tfunits.training.trainer")


@pytest.fixture(autouse=True, scope="session")
def a_checkpoint_every_epoch():
    """Tests stop trainings after an epoch of their choice, which takes less than the time between checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
        yield
