"""Loading by name: options that every data set shares."""

import functools

import numpy as np
import pytest

from tfunits import datasets
from tfunits.configs import DATASETS

NAMES = [name for name, known in DATASETS.items() if known.embedded]
# The teacher of 10,000 inputs takes seconds to balance; its loader is that of uncorrelated10.
FAST = [name for name in NAMES if name != "uncorrelated10000"]


load = functools.cache(datasets.load)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_is_whole(name):
    data = load(name, **({} if name in FAST else {"num_examples": 50, "test_examples": 50}))
    assert data.name == name
    assert list(data.splits) == ["train", "validation", "test"]
    for part in data.splits.values():
        assert part.inputs.shape[1:] == data.input_shape
        assert (part.inputs.dtype, part.labels.dtype) == (np.float32, np.int32)
        assert np.isfinite(part.inputs).all()
        np.testing.assert_array_equal(np.unique(part.labels), np.arange(data.num_classes))


def test_fewer_generated_examples_are_the_first_ones():
    few, more = load("uncorrelated10", num_examples=20), load("uncorrelated10")
    for field in ("inputs", "labels"):
        np.testing.assert_array_equal(getattr(few.splits["train"], field), getattr(more.splits["train"], field)[:20])
    np.testing.assert_array_equal(few.splits["test"].inputs, more.splits["test"].inputs)


@pytest.mark.parametrize("data_seed", [0, 7])
def test_fewer_digits_keep_the_shares_of_the_classes(data_seed):
    whole = load("digits", data_seed=data_seed, preprocessing="vector64").splits
    rows = {row.tobytes() for row in whole["train"].inputs}
    smaller = set()
    for count in (30, 200, 1078):
        few = load("digits", data_seed=data_seed, preprocessing="vector64", num_examples=count).splits
        expected = np.bincount(whole["train"].labels) * count / len(whole["train"])
        assert np.abs(np.bincount(few["train"].labels, minlength=10) - expected).max() <= 1
        found = {row.tobytes() for row in few["train"].inputs}
        assert smaller <= found <= rows
        smaller = found
        np.testing.assert_array_equal(few["test"].inputs, whole["test"].inputs)


def test_components_of_fewer_digits_are_fitted_on_these_alone():
    train = load("digits_parity", num_examples=100).splits["train"].inputs
    np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("name", FAST)
def test_random_labels_replace_training_and_validation_labels(name):
    true, drawn = load(name), load(name, random_labels=True)
    for split in ("train", "validation"):
        old, new = true.splits[split].labels, drawn.splits[split].labels
        np.testing.assert_array_equal(true.splits[split].inputs, drawn.splits[split].inputs)
        count, share = len(new), 1 / true.num_classes
        error = np.sqrt(count * share * (1 - share))
        assert np.abs(np.bincount(new, minlength=true.num_classes) - count * share).max() < 4 * error
        # Uniform draws know nothing of the true labels.
        assert abs(np.sum(old == new) - count * share) < 4 * error
    np.testing.assert_array_equal(true.splits["test"].labels, drawn.splits["test"].labels)


@pytest.mark.parametrize("name", FAST)
def test_random_labels_follow_the_data_seed(name):
    first, again, other = (datasets.load(name, random_labels=True, data_seed=seed) for seed in (0, 0, 3))
    for split in ("train", "validation"):
        np.testing.assert_array_equal(first.splits[split].labels, again.splits[split].labels)
        assert np.mean(first.splits[split].labels != other.splits[split].labels) > 0.4


@pytest.mark.parametrize("random_labels", [False, True])
@pytest.mark.parametrize("name", FAST)
def test_a_background_class_comes_before_the_others(name, random_labels):
    plain, moved = (load(name, random_labels=random_labels, background_class=b) for b in (False, True))
    assert moved.num_classes == plain.num_classes + 1
    for split in plain.splits:
        np.testing.assert_array_equal(moved.splits[split].labels, plain.splits[split].labels + 1)
        np.testing.assert_array_equal(moved.splits[split].inputs, plain.splits[split].inputs)


def test_random_labels_do_not_depend_on_the_form_of_the_inputs():
    labels = [
        datasets.load("digits", random_labels=True, preprocessing=form).splits["train"].labels
        for form in ("vector64", "image8")
    ]
    np.testing.assert_array_equal(*labels)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="--dataset=svhn: expected one of digits, digits_parity, uncorrelated10"):
        datasets.load("svhn")


def test_an_unknown_option_is_refused():
    with pytest.raises(
        ValueError, match="examples: expected one of the options background_class, .*num_examples, preprocessing"
    ):
        datasets.load("digits", examples=5)


def test_a_missing_data_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--data_dir=.*/absent: expected an existing folder"):
        datasets.load("digits", data_dir=str(tmp_path / "absent"))
    assert datasets.load("digits", data_dir=str(tmp_path)).num_classes == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preprocessing": "image64"}, "--preprocessing=image64: expected one of image32, image8, vector64 for digits"),
        ({"num_examples": 1079}, "--num_examples=1079: expected at most the 1078 training examples of digits"),
        ({"num_examples": 0}, "--num_examples=0: expected a whole number of at least 1"),
        ({"test_examples": 5}, "--test_examples=5: expected no such flag with --dataset=digits"),
        ({"data_seed": -1}, "--data_seed=-1: expected a whole number of at least 0"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", **options)
