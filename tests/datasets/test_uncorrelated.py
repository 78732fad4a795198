"""Gaussian inputs and the labels of their teacher."""

import numpy as np
import pytest

from tfunits import datasets
from tfunits.datasets.uncorrelated import Teacher, generate_rows


def classify(inputs: np.ndarray, hidden: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Labels of a network without biases, computed in float64."""
    return (np.maximum(inputs.astype("float64") @ hidden, 0) @ output).argmax(axis=1)


def test_first_rows_do_not_depend_on_the_number_of_examples():
    few, more = (datasets.load("uncorrelated10", num_examples=n, test_examples=20) for n in (3, 50))
    for split in ("train", "validation"):
        np.testing.assert_array_equal(few.splits[split].inputs, more.splits[split].inputs[:3])
        np.testing.assert_array_equal(few.splits[split].labels, more.splits[split].labels[:3])
    np.testing.assert_array_equal(few.splits["test"].inputs, more.splits["test"].inputs)


def test_a_row_is_a_function_of_seed_stream_and_index():
    whole = generate_rows(4, "train", 0, 20, 10)
    np.testing.assert_array_equal(generate_rows(4, "train", 13, 1, 10)[0], whole[13])
    assert len(np.unique(whole[:, 0])) == 20
    others = [generate_rows(5, "train", 13, 1, 10), generate_rows(4, "test", 13, 1, 10)]
    assert all(not np.isin(other, whole).any() for other in others)


def test_number_of_examples_follows_the_options():
    data = datasets.load("uncorrelated10", num_examples=30, test_examples=7)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 30, "validation": 30, "test": 7}
    default = datasets.load("uncorrelated10")
    assert {name: len(part) for name, part in default.splits.items()} == dict.fromkeys(data.splits, 1000)


def test_splits_share_no_number():
    splits = datasets.load("uncorrelated10", num_examples=200, test_examples=200).splits
    values = np.concatenate([part.inputs.ravel() for part in splits.values()])
    # 6,000 draws of 2^24 or so values would repeat about once; a shared row repeats ten.
    assert len(values) - len(np.unique(values)) < 10


def test_inputs_are_independent_standard_normals():
    inputs = datasets.load("uncorrelated10", num_examples=5000).splits["train"].inputs.astype("float64")
    # Five standard errors over 50,000 numbers: 1 / sqrt(n), sqrt(2 / n), and 1 / sqrt(5000) for a correlation.
    assert abs(inputs.mean()) < 5 / np.sqrt(inputs.size)
    assert abs(inputs.var() - 1) < 5 * np.sqrt(2 / inputs.size)
    assert np.abs(np.corrcoef(inputs.T) - np.eye(10)).max() < 5 / np.sqrt(len(inputs))
    assert abs((inputs**4).mean() - 3) < 5 * np.sqrt(96 / inputs.size)


@pytest.mark.parametrize("dimensions", [10, 10_000])
def test_labels_are_the_teachers_larger_output(dimensions):
    # The first teachers of these seeds are balanced at 10,000 dimensions, where each draw costs a second and a half.
    data = datasets.load(f"uncorrelated{dimensions}", data_seed=3, num_examples=300, test_examples=100)
    teacher = Teacher(3, dimensions)
    assert (teacher.hidden.shape, teacher.output.shape) == ((dimensions, 32), (32, 2))
    for part in data.splits.values():
        np.testing.assert_array_equal(part.labels, classify(part.inputs, teacher.hidden, teacher.output))
    train = data.splits["train"]
    assert np.mean(classify(train.inputs, teacher.hidden[::-1], teacher.output) != train.labels) > 0.2


def test_teachers_labels_are_balanced():
    fresh = np.random.default_rng(99).normal(size=(10_000, 10))
    teachers = [Teacher(seed, 10) for seed in (0, 2, 3, 6)]
    shares = np.array([classify(fresh, teacher.hidden, teacher.output).mean() for teacher in teachers])
    # 40 to 60 % on its own 10,000 inputs; on others within three standard errors of 0.005 of that.
    assert np.abs(shares - 0.5).max() < 0.115
    draws = [np.random.default_rng(seed) for seed in range(8)]
    unchecked = [classify(fresh, d.normal(size=(10, 32)), d.normal(size=(32, 2))).mean() for d in draws]
    assert np.abs(np.array(unchecked) - 0.5).max() > 0.15


def test_teachers_weights_are_truncated_at_two_standard_deviations():
    hidden = Teacher(0, 1000).hidden
    assert np.abs(hidden).max() <= 0.02
    # A standard normal cut at +-2 has standard deviation 0.8796; that of 32,000 draws varies by 0.3 %.
    np.testing.assert_allclose(hidden.std(), 0.8796e-2, rtol=0.015)
