"""The small form of a grid."""

import pytest

from tfunits.configs import DATASETS, MODELS, UserError, flags, resolve, run_id
from tfunits.configs.small import shrink, shrink_measuring


def read(*arguments: str) -> flags.Request:
    registry = flags.make_flags()
    flags.parse(registry, ["program", *arguments])
    return flags.read_command_line(registry)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_on_the_papers_data_becomes_its_embedded_twin(model):
    papers = MODELS[model].papers_dataset_name.split(" or ")[0]
    for combination in shrink([{"model": model, "dataset": papers, "size": 4.0, "epochs": 1000}]):
        config = resolve(combination)
        assert config.data.dataset_facts.embedded
        assert config.model.size == 1
        if not DATASETS[papers].embedded:
            assert config.data.dataset == MODELS[model].default_dataset
            short = resolve({"model": model, "seed": combination["seed"]})
            plain = resolve({"model": model, "seed": combination["seed"], "epochs": -(-short.training.epochs // 2)})
            assert run_id(config) == run_id(plain)


def test_sizes_up_to_one_stay_and_larger_ones_become_one_run():
    names = [f"--size={sizes}" for sizes in ("0.25,0.5", "0.25,0.5,1,2,4")]
    found = [[c.model.size for c in read("--small", name, "--seed=5,6").experiments] for name in names]
    assert found == [[0.25, 0.25, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5, 1, 1]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), [0, 1]),
        (("--seed=3",), [3, 4]),
        (("--seed=4294967295",), [4294967295, 0]),
        (("--seed=0",), [0, 1]),
        (("--seed=7,8,9",), [7, 8]),
    ],
)
def test_there_are_two_seeds(given, expected):
    assert [config.training.seed for config in read("--small", *given).experiments] == expected


def test_fields_that_only_the_papers_data_know_are_left_out():
    (config, _) = read(
        "--small", "--dataset=cifar10", "--preprocessing=crop28", "--split=ordered", "--validation_examples=2500",
        "--learning_rate=0.03",
    ).experiments  # fmt: skip
    assert config.data == resolve({}).data
    assert config.training.learning_rate == 0.03


def test_epochs_are_at_most_half_of_the_short_recipes():
    assert resolve({}).training.epochs == 8
    for given, expected in ((1, 1), (500, 4)):
        for data in ((), ("--dataset=cifar10",)):
            assert {c.training.epochs for c in read("--small", f"--epochs={given}", *data).experiments} == {expected}


@pytest.mark.parametrize("data", [(), ("--dataset=cifar10",)], ids=str)
def test_random_labels_have_no_more_epochs_than_true_ones(data):
    assert resolve({"random_labels": True}).training.epochs > 8
    for flag, expected in (("--epochs=200", 4), ("--epochs=3", 3), ("--draws=2", 4)):
        assert {c.training.epochs for c in read("--small", "--random_labels", flag, *data).experiments} == {expected}


def test_epochs_that_a_small_form_does_not_reach_are_not_raised_by_epochs():
    for given in ((), ("--epochs=8",)):
        with pytest.raises(UserError, match="expected epochs up to the last, 4; or leave out --small$"):
            read("--small", "--keep_epochs=8", *given)


def test_schedules_of_long_recipes_are_left_out():
    (config, _) = read(
        "--small", "--model=resnet18", "--dataset=imagenet2012", "--schedule=piecewise", "--drop_epochs=30,60",
        "--warmup_epochs=3",
    ).experiments  # fmt: skip
    assert config == resolve(
        {"model": "resnet18", "draws": 1, "epochs": 5, "chunk_draws": 25, "reconstruction_draws": 5}
    )


def test_of_every_size_few_chunks_are_drawn():
    for given, expected in (((), (25, 5)), (("--chunk_draws=100", "--reconstruction_draws=3"), (25, 3))):
        measures = [config.measure for config in read("--small", "--model=fc5", *given).experiments]
        assert {(measure.chunk_draws, measure.reconstruction_draws) for measure in measures} == {expected}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset=imagnet",), "--dataset=imagnet: expected one of"),
        (("--dataset=cifar10", "--preprocessing=foo"), "--preprocessing=foo: expected one of"),
        (("--dataset=folder:/no/such/folder",), "/no/such/folder"),
        (("--model=resnet19",), "--model=resnet19: expected one of"),
    ],
)
def test_mistakes_are_mistakes_in_the_small_form_too(arguments, message):
    with pytest.raises(UserError, match=message):
        read("--small", *arguments)


def test_a_users_own_network_is_one_run(tmp_path):
    (tmp_path / "own.keras").write_bytes(b"any")
    assert len(read("--small", f"--model=file:{tmp_path / 'own.keras'}").experiments) == 1


def test_a_folder_of_prepared_data_is_not_asked_for():
    assert read("--small", "--dataset=cifar10", "--data_dir=/no/such/folder").experiments


def test_embedded_data_stay_as_they_are():
    request = read("--small", "--model=mlp", "--dataset=uncorrelated10", "--num_examples=500", "--epochs=3")
    assert {config.data.num_examples for config in request.experiments} == {500}
    assert {config.training.epochs for config in request.experiments} == {3}


def test_without_the_flag_nothing_shrinks():
    (config,) = read("--size=4").experiments
    assert config.model.size == 4


def test_grids_and_layer_sizes_shrink_too():
    request = read(
        "--small",
        "--dataset=imagenet2012",
        "--grid=model=resnet18 size=0.25,4",
        "--grid=model=inception_v3 layer_size=4",
    )
    sizes = {(c.model.model, c.model.size, c.model.layer_size) for c in request.experiments}
    # A layer size that is the size of all is none.
    assert sizes == {("resnet18", 0.25, None), ("resnet18", 1, None), ("inception_v3", 1, None)}
    assert not request.dataset_given


@pytest.mark.parametrize(
    ("given", "draws", "units"),
    [
        ((), 1, ("channel",)),
        (("--draws=2", "--ablation_unit=location,channel"), 2, ("location",)),
        (("--standard_error=0.01",), 3, ("channel",)),
    ],
)
def test_ablations_take_one_order_of_one_kind_of_unit(given, draws, units):
    measure = read("--small", *given).experiments[0].measure
    assert (measure.draws, measure.ablation_unit) == (draws, units)


def test_further_ways_of_measuring_take_few_examples_and_never_more():
    assert shrink_measuring({"measured_examples": 50_000, "draws": 3}) == {"measured_examples": 5_000, "draws": 3}
    assert shrink_measuring({"measured_examples": 300}) == {"measured_examples": 300}
    assert shrink_measuring({"draws": 3}) == {"draws": 3}


def test_combinations_that_become_the_same_stand_there_once():
    grid = [{"model": "mlp", "size": size, "seed": seed} for size in (4.0, 0.25, 2.0, 1.0) for seed in (3, 5, 7)]
    grid += [{"model": "mlp", "size": 1, "seed": 3}]
    small = shrink(grid)
    assert [(form["size"], form["seed"]) for form in small] == [(1.0, 3), (1.0, 5), (0.25, 3), (0.25, 5)]
    with pytest.raises(UserError, match="--seed=-1"):
        shrink([*grid, {**grid[0], "seed": -1}])
