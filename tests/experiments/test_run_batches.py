"""Runs that share a compiled training and data are what each is alone."""

import pathlib

import pytest
from tensorflow.python.framework import ops
from tiny_runs import carry_out, make_config

from tfunits import experiments
from tfunits.artifacts import RunDir, read_json
from tfunits.configs import ExperimentConfig, run_id
from tfunits.experiments.batches import make_batches, sharing_key

# Values that one compiled training serves; the last two need one of their own.
TOGETHER = [{}, {"seed": 4}, {"learning_rate": 0.01}, {"initializer": "he_normal"}, {"init_scale": 3.0}]
APART = [{"size": 0.125}, {"optimizer": "sgd"}]


def configs() -> list[ExperimentConfig]:
    return [make_config(**fields) for fields in [*TOGETHER, *APART]]


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, pathlib.Path]:
    """The same runs in one grid, and each by a command of its own."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("together", "alone")}
    options = {"steps": ("train", "measure")}
    assert carry_out(found["together"], *configs(), **options) == 0
    for config in configs():
        assert carry_out(found["alone"], config, **options) == 0
    return found


@pytest.mark.parametrize("config", configs(), ids=run_id)
def test_weights_history_and_measures_are_those_of_a_run_alone(roots, config) -> None:
    together, alone = (RunDir.of(config, root) for root in (roots["together"], roots["alone"]))
    assert together.history.read_bytes() == alone.history.read_bytes()
    digests = [read_json(run_dir.done_file("train"))["weights_sha256"] for run_dir in (together, alone)]
    assert digests[0] == digests[1]
    assert together.model.stat().st_size == alone.model.stat().st_size
    names = sorted(path.name for path in alone.measures.iterdir())
    assert names == sorted(path.name for path in together.measures.iterdir())
    for name in names:
        assert (together.measures / name).read_bytes() == (alone.measures / name).read_bytes(), name


def test_a_saved_network_has_the_weights_that_its_run_trained(roots) -> None:
    """Not those of the run whose network they were trained in."""
    for config in configs():
        run_dir = RunDir.of(config, roots["together"])
        expected = read_json(run_dir.done_file("train"))["weights_sha256"]
        assert experiments.load.digest_weights(experiments.load_file(run_dir.model)) == expected


def test_nothing_of_a_batch_stays_in_tensorflows_table_of_gradients(tmp_path) -> None:
    known = set(ops.gradient_registry._registry)
    assert carry_out(tmp_path, make_config(epochs=1), steps=("train",)) == 0
    assert {name for name in ops.gradient_registry._registry if name.startswith("CustomGradient-")} <= known


def test_batches_hold_every_run_once_in_order_of_their_first() -> None:
    given = configs()
    batches = make_batches(given[::-1])
    assert sorted(run_id(config) for batch in batches for config in batch) == sorted(map(run_id, given))
    assert [len(batch) for batch in batches] == [1, 1, len(TOGETHER)]
    assert batches[0] == [given[-1]]
    for batch in batches:
        assert len({sharing_key(config) for config in batch}) == 1


def test_several_workers_get_their_shares_and_no_batch_is_long() -> None:
    given = [make_config(seed=seed) for seed in range(70)]
    assert [len(batch) for batch in make_batches(given)] == [32, 32, 6]
    assert [len(batch) for batch in make_batches(given[:10], num_workers=3)] == [4, 4, 2]


def test_several_workers_do_not_part_what_one_compiles_where_there_is_enough_for_all() -> None:
    given = [make_config(seed=seed, size=size) for size in (0.25, 0.5, 1, 2) for seed in range(2)]
    assert [len(batch) for batch in make_batches(given, num_workers=2)] == [1] * 8
    given += [make_config(seed=seed, size=size, random_labels=True) for size in (0.25, 0.5, 1, 2) for seed in range(2)]
    assert [len(batch) for batch in make_batches(given, num_workers=2)] == [2] * 8


def test_several_workers_share_what_is_most_of_the_work() -> None:
    given = [make_config(seed=seed, size=size) for size in (0.25, 0.5, 1, 2) for seed in range(8)]
    work = {size: 16 * size**2 for size in (0.25, 0.5, 1, 2)}
    batches = make_batches(given, num_workers=4, work=lambda config: work[config.model.size])
    assert [len(batch) for batch in batches] == [8, 8, 2, 2, 2, 2, 2, 2, 2, 2]
    assert max(sum(work[c.model.size] for c in batch) for batch in batches) <= sum(work.values()) * 8 / 4
    assert [len(batch) for batch in make_batches(given, num_workers=4, work=lambda config: 0.0)] == [8] * 4


@pytest.mark.parametrize(
    "fields", [{"dataset": "digits_parity"}, {"data_seed": 1}, {"size": 0.5}, {"epochs": 3}, {"k": 2.0}], ids=str
)
def test_what_is_compiled_or_loaded_is_not_shared(fields) -> None:
    assert sharing_key(make_config()) != sharing_key(make_config(**fields))
