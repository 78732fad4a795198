"""What TensorBoard reads back from an event file."""

import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tfunits.artifacts import EventWriter
from tfunits.artifacts.events import MAX_HISTOGRAM_VALUES, thin_out


@pytest.fixture
def events(tmp_path: pathlib.Path) -> EventWriter:
    return EventWriter(tmp_path)


def read(folder: pathlib.Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def steps_and_values(folder: pathlib.Path, tag: str) -> list[tuple]:
    return [(event.step, tf.make_ndarray(event.tensor_proto)) for event in read(folder).Tensors(tag)]


def test_scalars(events: EventWriter, tmp_path: pathlib.Path) -> None:
    for step, loss in ((1, 2.5), (2, 1.25)):
        events.scalars({"loss": loss, "accuracy": 0.5}, step)
    events.close()
    assert steps_and_values(tmp_path, "loss") == [(1, 2.5), (2, 1.25)]
    assert steps_and_values(tmp_path, "accuracy") == [(1, 0.5), (2, 0.5)]


def test_a_line_can_be_read_before_the_file_is_closed(events: EventWriter, tmp_path: pathlib.Path) -> None:
    events.scalars({"loss": 1.0}, 0)
    assert steps_and_values(tmp_path, "loss") == [(0, 1.0)]
    events.close()


def test_a_resumed_run_adds_to_its_folder(events: EventWriter, tmp_path: pathlib.Path) -> None:
    events.scalars({"loss": 1.0}, 1)
    events.close()
    resumed = EventWriter(tmp_path)
    resumed.scalars({"loss": 0.5}, 2)
    resumed.close()
    found = [value for path in sorted(tmp_path.iterdir()) for value in steps_and_values(path, "loss")]
    assert sorted(found) == [(1, 1.0), (2, 0.5)]


@pytest.mark.parametrize("size", [100, 3 * MAX_HISTOGRAM_VALUES])
def test_histograms_of_at_most_ten_thousand_values(events: EventWriter, tmp_path: pathlib.Path, size: int) -> None:
    values = np.linspace(-1, 3, size).reshape(10, -1)
    events.histograms({"kernel": values}, 4)
    events.close()
    ((step, buckets),) = steps_and_values(tmp_path, "kernel")  # left edge, right edge, count
    assert step == 4
    assert buckets[:, 2].sum() == min(size, MAX_HISTOGRAM_VALUES)
    assert buckets[0, 0] == pytest.approx(-1)
    # Even spacing keeps the shape: all buckets of a uniform distribution are equal but for their ends.
    assert np.ptp(buckets[:, 2]) <= 2 + buckets[:, 2].mean() * 0.02


def test_images(events: EventWriter, tmp_path: pathlib.Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(4, 5, 3)).astype("uint8")
    events.image("figure", tf.io.encode_png(pixels).numpy(), 7)
    events.close()
    ((step, (width, height, png)),) = steps_and_values(tmp_path, "figure")
    assert (step, int(width), int(height)) == (7, 5, 4)
    np.testing.assert_array_equal(tf.io.decode_png(png).numpy(), pixels)


def read_plugin(folder: pathlib.Path, tag: str) -> plugin_data_pb2.HParamsPluginData:
    return plugin_data_pb2.HParamsPluginData.FromString(read(folder).SummaryMetadata(tag).plugin_data.content)


def test_hyperparameters_and_the_results_by_which_runs_are_compared(
    events: EventWriter, tmp_path: pathlib.Path
) -> None:
    settings = {"size": 0.5, "seed": 1, "random_labels": True, "model": "mlp", "drop_epochs": (1, 2)}
    events.hyperparameters("mlp-digits", settings, {"final/accuracy": 0.75}, 3)
    events.close()
    row = read_plugin(tmp_path, "_hparams_/session_start_info").session_start_info
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in row.hparams.items()}
    assert found == {**settings, "drop_epochs": "(1, 2)"}
    assert row.group_name == "mlp-digits"
    columns = read_plugin(tmp_path, "_hparams_/experiment").experiment
    assert {column.name for column in columns.hparam_infos} == set(settings)
    assert [column.name.tag for column in columns.metric_infos] == ["final/accuracy"]
    assert steps_and_values(tmp_path, "final/accuracy") == [(3, 0.75)]


@settings(deadline=None, derandomize=True, max_examples=80)
@given(size=st.integers(0, 500), limit=st.integers(1, 60))
def test_thinning_is_even_and_keeps_the_order(size: int, limit: int) -> None:
    kept = thin_out(np.arange(size), limit)
    assert len(kept) <= limit
    assert len(kept) >= min(size, limit / 2)
    assert len(set(np.diff(kept))) <= 1
    assert size == 0 or kept[0] == 0


def test_small_arrays_are_kept_whole_in_any_shape(rng: np.random.Generator) -> None:
    array = rng.normal(size=(3, 4, 5))
    np.testing.assert_array_equal(thin_out(array), array.ravel())


def test_a_file_that_cannot_be_written_is_named_with_the_systems_reason(tmp_path: pathlib.Path) -> None:
    """As on a full disk."""
    events = EventWriter(tmp_path / "tensorboard")
    events.scalars({"loss": 1.0}, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            events.histograms({f"kernel{number}": np.arange(100.0) for number in range(20)}, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.strerror == "File too large"
    assert pathlib.Path(error.value.filename).parent == tmp_path / "tensorboard"


def test_what_cannot_be_summarised_is_no_error_of_the_disk(events: EventWriter) -> None:
    with pytest.raises(ValueError, match="png: expected a PNG picture"):
        events.image("plot", b"no png", 0)
    with pytest.raises(ValueError, match="Expected scalar shape"):
        events.scalars({"loss": np.ones(2)}, 0)
