"""What measures return: tables with one row a tap, scaled by size where asked for."""

import numpy as np
import pytest

from tfunits import measures
from tfunits.measures import AblationCurves, Prunability, Result
from tfunits.statistics import AblationCurve

TAPS = ["first", "rectified", "joined", "gated"]


@pytest.fixture
def curves() -> AblationCurves:
    """Two taps of which every number can be worked out by hand, at three levels and two draws."""

    def curve(num_units, *agreeing):
        return AblationCurve(
            num_units=num_units, num_examples=100, fractions=np.array([0, 0.5, 1]), num_agreeing=np.array(agreeing)
        )

    return AblationCurves(
        taps={"wide": curve(30, [100, 90, 70], [100, 80, 60]), "thin": curve(10, [100, 60, 20], [100, 40, 20])},
        joint=curve(40, [100, 60, 10], [100, 20, 10]),
        settings={"unit": "channel", "split": "test"},
    )


def test_prunability_by_hand(curves):
    found = curves.prunability()
    wide, thin, network = found.rows["wide"], found.rows["thin"], found.network
    # Through 0.8: from 0.9 to 0.7 half-way, and at the second level itself; from 1 to 0.6 and 0.4, after 1/2 and 1/3.
    assert (wide["prunable"], wide["prunable_mean"]) == (pytest.approx(0.75), pytest.approx(0.625))
    assert (thin["prunable"], thin["prunable_mean"]) == (pytest.approx(0.25), pytest.approx((1 / 4 + 1 / 6) / 2))
    assert (network["prunable"], network["prunable_mean"]) == (pytest.approx(0.25), pytest.approx((1 / 4 + 1 / 8) / 2))
    assert network["not_prunable"] == pytest.approx(0.75)
    assert wide["agreement_at_1"] == pytest.approx(0.65)
    assert wide["area"] == pytest.approx((100 + 90 + 70 + 100 + 80 + 60) / 600)
    # A network's area is the mean over its taps, not that of the joint curve.
    assert network["area"] == pytest.approx((wide["area"] + thin["area"]) / 2)
    assert [row["units"] for row in (wide, thin, network)] == [30, 10, 40]


@pytest.mark.parametrize("size", [0.25, 1, 4])
def test_prunable_units_are_counted_against_the_network_at_size_four(size, curves):
    raw, scaled = curves.prunability(), curves.prunability(size=size)
    for left, right in zip([*raw.rows.values(), raw.network], [*scaled.rows.values(), scaled.network], strict=True):
        for name in ("prunable", "prunable_mean", "not_prunable"):
            assert right[name] == pytest.approx(left[name] * size / 4)
        assert right["area"] == left["area"]
    assert "size 4" in str(scaled)


def test_curves_without_a_joint_one_say_nothing_of_the_network_but_its_area(curves):
    alone = AblationCurves(taps=curves.taps, joint=None, settings={})
    assert set(alone.prunability().network) == {"area"}


@pytest.fixture
def results(branched_model, images) -> dict[str, Result]:
    statistics = measures.unit_statistics(branched_model, images)
    return {
        "prunability": measures.prunability(branched_model, images, draws=1, levels=3),
        "redundancy": statistics.redundancy(),
        "similarity": statistics.similarity(),
        "unit_types": statistics.unit_types(),
    }


def test_every_result_is_a_table_of_the_taps_and_the_network(results):
    for result in results.values():
        frame = result.to_frame()
        assert list(frame.index) == [*TAPS, "network"]
        assert frame.index.name == "tap"
        for tap in TAPS:
            assert dict(frame.loc[tap, list(result.rows[tap])]) == result.rows[tap]
        shown = str(result)
        assert shown.startswith(type(result).__name__)
        assert all(tap in shown for tap in [*TAPS, "network", "split test"])


def test_the_networks_numbers_are_means_or_sums_over_taps(results):
    redundancy, similarity, types = (results[name] for name in ("redundancy", "similarity", "unit_types"))
    assert redundancy.network["redundant"] == pytest.approx(
        np.mean([row["redundant"] for row in redundancy.rows.values()])
    )
    assert redundancy.network["redundant_units"] == sum(row["redundant_units"] for row in redundancy.rows.values())
    assert similarity.network["similar"] == pytest.approx(np.mean([r["similar"] for r in similarity.rows.values()]))
    for result in (redundancy, similarity, types):
        assert result.network["units"] == 4 + 4 + 8 + 8


@pytest.mark.parametrize("size", [0.5, 4])
def test_redundant_units_are_counted_against_the_network_at_size_four(size, branched_model, images):
    raw, scaled = (measures.redundancy(branched_model, images, size=s) for s in (None, size))
    for left, right in zip([*raw.rows.values(), raw.network], [*scaled.rows.values(), scaled.network], strict=True):
        assert left["redundant"] + left["not_redundant"] == pytest.approx(1)
        assert right["redundant"] == pytest.approx(left["redundant"] * size / 4)
        assert right["not_redundant"] == pytest.approx(left["not_redundant"] * size / 4)
        assert right["compressibility"] == left["compressibility"] == pytest.approx(100 * left["redundant"])


def test_a_tap_may_be_called_network():
    rows = {"network": {"units": 3}, "other": {"units": 4}}
    frame = Prunability(rows=rows, network={"units": 7}, settings={}).to_frame()
    assert list(frame["units"]) == [3, 4, 7]
