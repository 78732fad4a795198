"""Products of axes, and unions of products."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.configs import UserError, expand, resolve_all, run_id

AXES = st.dictionaries(
    st.sampled_from(["size", "seed", "k", "epochs"]), st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)
)
SEARCH = settings(deadline=None, derandomize=True, max_examples=50)


@SEARCH
@given(common=AXES, grids=st.lists(AXES, max_size=3))
def test_every_combination_of_every_grid_in_order(common: dict, grids: list[dict]) -> None:
    found = expand(common, grids)
    merged = [{**common, **grid} for grid in grids or [{}]]
    assert len(found) == sum(math.prod(map(len, axes.values())) for axes in merged)
    combinations = iter(found)
    for axes in merged:
        for values in itertools.product(*axes.values()):
            assert next(combinations) == dict(zip(axes, values, strict=True))


def test_a_shared_run_is_done_once_in_its_first_place() -> None:
    common = {"model": ["mlp"], "dataset": ["uncorrelated10"]}
    configs = resolve_all(expand(common, [{"size": [0.25, 1]}, {"size": [1, 2]}]))
    assert [config.model.size for config in configs] == [0.25, 1, 2]
    assert len({run_id(config) for config in configs}) == 3


def test_an_explicit_default_is_the_same_run() -> None:
    configs = resolve_all([{"model": "alexnet"}, {"model": "alexnet", "size": 1.0, "initializer": "glorot_normal"}])
    assert len(configs) == 1


def test_every_data_set_of_a_grid_has_its_own_recipe() -> None:
    configs = resolve_all(expand({"model": ["wide_resnet28"], "dataset": ["cifar10", "digits"], "seed": [0, 1]}))
    found = [(config.data.dataset, config.training.epochs, config.data.num_validation) for config in configs]
    assert found == 2 * [("cifar10", 200, 0)] + 2 * [("digits", 10, 180)]


def test_a_given_field_holds_for_every_data_set_of_a_grid() -> None:
    configs = resolve_all(expand({"dataset": ["cifar10", "mnist"], "validation_examples": [2500]}))
    assert [config.data.num_train for config in configs] == [47_500, 57_500]


def test_one_bad_combination_is_named() -> None:
    with pytest.raises(UserError, match="^--size=0"):
        resolve_all([{"size": 1}, {"size": 0}])
