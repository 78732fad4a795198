"""Costs that are estimated from configurations."""

import dataclasses

import pytest

from tfunits.configs import resolve
from tfunits.configs.architectures import describe_architecture
from tfunits.configs.costs import Cost, estimate_cost, estimate_memory, steps_of_epoch, sum_costs

MLP = {"model": "mlp", "dataset": "uncorrelated10", "size": 1, "epochs": 3}
# Seconds of CPU that the first runs took, BUILD.md "Times".
MEASURED_SECONDS = {
    ("resnet18", 2): 342, ("resnet56", 0.25): 77, ("wide_resnet28", 0.25): 39, ("densenet40", 0.25): 61,
    ("resnet50", 0.25): 54, ("inception_v3", 0.25): 102,
}  # fmt: skip


def estimate(steps=("train",), **fields) -> Cost:
    return estimate_cost(resolve({**MLP, **fields}), steps)


def test_training_is_three_passes_an_example_and_one_to_validate():
    forward = 2 * (10 * 128 + 128 * 2)
    assert estimate().training_flops == forward * 3 * (3 * 1000 + 1000)
    assert estimate().parameters == 1666
    assert estimate(steps=("report",)).training_flops == estimate(epochs=0).training_flops == 0
    assert estimate(steps=("report",)).setup_seconds == 0 < estimate(steps=("chunks",)).setup_seconds


def test_measuring_grows_with_what_is_measured():
    """Every example once, and once more for the units; behind the one tap there are but the logits."""
    forward = 2 * (10 * 128 + 128 * 2)
    assert estimate(steps=("measure",)).measuring_flops == forward * (3000 + 1000)
    twice = estimate(steps=("measure",), measured_splits=("train", "test"), ablation_unit=("channel", "location"))
    assert twice.measuring_flops == forward * (3000 + 2000)
    fewer = estimate(steps=("measure",), test_examples=50_000, measured_examples=500)
    assert fewer.measuring_flops == forward * (1500 + 500)


def test_ablations_run_half_of_a_network_for_every_tap_and_once_for_all():
    """Fifteen masks between the first and the last level, of each of AlexNet's four taps and of all at once."""
    config = resolve({"model": "alexnet"})
    forward = describe_architecture(config.model, config.data.input_shape, 10).flops
    examples, test = 1078 + 180 + 539, 539
    assert estimate_cost(config, ("measure",)).measuring_flops == forward * (examples + test * (1 + 15 * (4 / 2 + 1)))


def test_every_weight_decay_that_is_tried_is_trained():
    single = resolve({"model": "fc5", "epochs": 2, "weight_decay": 1e-3})
    choices = resolve({"model": "fc5", "epochs": 2, "weight_decay_choices": (1e-3, 1e-2)})
    one, two = (estimate_cost(config, ("train",)) for config in (single, choices))
    assert two.training_flops == 2 * one.training_flops
    assert two.layer_steps == 2 * one.layer_steps


@pytest.mark.parametrize(("model", "size"), MEASURED_SECONDS)
def test_hours_of_a_core_are_those_measured_to_a_factor_of_two(model, size):
    seconds = 3600 * estimate_cost(resolve({"model": model, "size": size})).cpu_hours
    assert 0.5 < seconds / MEASURED_SECONDS[model, size] < 2


def test_runs_of_a_batch_are_set_up_once_and_gpus_share_runs():
    cost = estimate()
    together, apart = sum_costs([[cost, cost]]), sum_costs([[cost], [cost]])
    assert together.setup_seconds == cost.setup_seconds == apart.setup_seconds / 2
    assert dataclasses.replace(together, setup_seconds=0) == dataclasses.replace(apart, setup_seconds=0)
    grid = sum_costs([[cost]] * 80)
    # Nine tenths of eight GPUs' work; what a core prepares is shared without loss.
    assert 8 * 0.9 <= grid.gpu_hours() / grid.gpu_hours(8) <= 8
    assert cost.gpu_hours() > cost.gpu_hours(8) > cost.gpu_hours() / 8


def test_memory_grows_with_weights_batches_and_data_but_not_with_streamed_images():
    wide = [estimate_memory(resolve({"model": "alexnet", "size": size})) for size in (1, 4)]
    assert wide[1] - wide[0] >= 4 * 8 * (111_713_546 - 6_989_642)
    batches = [estimate_memory(resolve({"model": "resnet18", "batch_size": size})) for size in (32, 64)]
    assert batches[1] > batches[0]
    inputs = [estimate_memory(resolve({**MLP, "dataset": name})) for name in ("uncorrelated10", "uncorrelated10000")]
    assert inputs[1] - inputs[0] >= 4 * 3000 * 9990
    assert estimate_memory(resolve({"model": "resnet18", "dataset": "imagenet2012", "batch_size": 1})) < 3e9


def test_steps_of_an_epoch():
    config = resolve({"model": "resnet18"})
    assert (steps_of_epoch(config), steps_of_epoch(config, drop_last=True)) == (34, 33)
