"""The whole report is its parts, side by side."""

import keras
import pandas as pd
import pytest

from tfunits import measures

TAPS = ["first", "rectified", "joined", "gated"]


def test_a_report_is_its_parts_side_by_side(branched_model, images):
    report = measures.report(branched_model, images, tolerance=0.3, size=2, seed=3)
    frame = report.to_frame()
    assert list(frame.index) == [*TAPS, "network"]
    parts = [
        measures.prunability(branched_model, images, tolerance=0.3, size=2, seed=3),
        measures.redundancy(branched_model, images, size=2, seed=3),
        measures.similarity(branched_model, images, seed=3),
        measures.unit_types(branched_model, images, seed=3),
    ]
    names = [["units", "prunable", "prunable_mean", "area", "agreement_at_1"], ["redundant", "rows", "rank_limited"]]
    names.append(["similar"])
    names.append(["dead", "silent", "constant"])
    for part, columns in zip(parts, names, strict=True):
        pd.testing.assert_frame_equal(frame[columns], part.to_frame()[columns])
    assert list(frame.columns) == sum(names, [])
    assert all(name in str(report) for name in frame.index)


def test_a_report_with_another_seed_is_another(branched_model, images):
    """Negative control: the seed reaches the curves."""
    left, right = (measures.report(branched_model, images, seed=seed).to_frame() for seed in (0, 1))
    assert (left["area"] != right["area"]).any()
    assert (left["redundant"] == right["redundant"]).all()  # All rows are read, so that no sampling depends on it.


def test_a_report_says_which_data_it_is_of(branched_model, images, blobs):
    classifier = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(3)])
    reports = measures.report(classifier, blobs, split="train"), measures.report(branched_model, images)
    for report, split, words in zip(reports, ("train", None), ("train data", "the data given"), strict=True):
        assert str(report).startswith(f"on {words}, tolerance 0.2\n")
        plain = report.to_dict()
        assert plain["settings"]["split"] == plain["curves"]["settings"]["split"] == split


def test_a_tolerance_out_of_range_is_refused(branched_model, images):
    with pytest.raises(ValueError, match=r"tolerance: expected a number in \(0, 1\], received 2"):
        measures.report(branched_model, images, tolerance=2).to_frame()
