"""Numbers of panels over widths, against ones worked out by hand."""

import numpy as np
import pytest
from made_records import make_record

from tfunits.configs import MeasureConfig
from tfunits.reports.figures import Curve, Runs
from tfunits.reports.figures.panels import WidthPanel


def made(size, seed, crossing=0.5, **given):
    return make_record({"model": "mlp", "size": size, "seed": seed, **given}, crossing=crossing, redundant=0.5)


def rows(table, *columns):
    return [tuple(row) for row in table[list(columns)].itertuples(index=False)]


def test_means_and_deviations_over_seeds_stand_beside_untrained_networks():
    trained = [made(size, seed, crossing) for size in (1.0, 2.0) for seed, crossing in enumerate((0.4, 0.6))]
    untrained = [made(1.0, seed, 0.2, epochs=0) for seed in range(3)]
    table = WidthPanel(measure="prunability", curves=[Curve(label="mlp")]).tabulate(Runs(records=trained + untrained))
    assert rows(table, "curve", "tap", "unit", "size", "seeds") == [
        ("mlp", "network", "channel", 1, 2), ("mlp", "network", "channel", 2, 2),
    ]  # fmt: skip
    # Levels are sixths: an agreement of thousandths is rounded there.
    np.testing.assert_allclose(table["mean"], [0.5 / 4, 0.5 / 2], rtol=2e-3)
    np.testing.assert_allclose(table["std"], [0.2 / np.sqrt(2) / 4, 0.2 / np.sqrt(2) / 2], rtol=1e-2)
    # The third seed was not trained: its untrained network does not count, but it has the same number.
    np.testing.assert_allclose(table["untrained"], [0.2 / 4, np.nan], rtol=2e-3)


def test_curves_that_differ_in_their_training_share_untrained_networks():
    records = [made(1.0, 0, optimizer=name) for name in ("sgd", "adam")] + [made(1.0, 0, 0.3, epochs=0)]
    curves = [Curve(label=name, settings={"optimizer": name}) for name in ("sgd", "adam")]
    table = WidthPanel(measure="prunability", curves=curves).tabulate(Runs(records=records))
    np.testing.assert_allclose(table["untrained"], 0.3 / 4, rtol=2e-3)


def test_true_and_random_labels_share_untrained_networks():
    records = [made(1.0, 0, random_labels=True), made(1.0, 0, 0.3, epochs=0), made(1.0, 1, 0.9, epochs=0)]
    table = WidthPanel(measure="prunability", curves=[Curve(label="random")]).tabulate(Runs(records=records))
    np.testing.assert_allclose(table["untrained"], 0.3 / 4, rtol=2e-3)


def test_a_curve_may_be_of_several_settings():
    records = [made(size, 0, k=k) for size, k in ((0.5, 4.0), (0.5, 1.0), (1.0, 4.0), (1.0, 2.0))]
    largest = Curve(label="max", settings=[{"size": 0.5, "k": 4.0}, {"size": 1.0, "k": 2.0}])
    panel = WidthPanel(measure="accuracy", curves=[largest], listed=("k",))
    assert rows(panel.tabulate(Runs(records=records)), "size", "seeds", "k") == [(0.5, 1, "4"), (1.0, 1, "2")]


def test_a_varied_block_of_the_common_width_is_the_network_of_that_size():
    records = [
        make_record({"model": "inception_v3", "layer_size": width, "initializer": "he_normal"}) for width in (0.5, 1.0)
    ]
    block = Curve(label="block", x="layer_size", tap="mixed_35x35x288b")
    table = WidthPanel(measure="redundancy", curves=[block]).tabulate(Runs(records=records))
    assert rows(table, "size", "tap") == [(0.5, "mixed_35x35x288b"), (1.0, "mixed_35x35x288b")]


def test_every_kind_of_ablated_unit_stands_in_the_table_and_the_first_is_drawn():
    measure = MeasureConfig(ablation_unit=("location", "channel"))
    runs = Runs(records=[make_record({"model": "mlp", "ablation_unit": ("location", "channel")})], measure=measure)
    panel = WidthPanel(measure="prunability", curves=[Curve(label="mlp")])
    assert list(panel.tabulate(runs)["unit"]) == ["location", "channel"]
    assert list(WidthPanel(measure="redundancy", curves=[Curve(label="mlp")]).tabulate(runs)["unit"]) == [""]


def test_a_choice_applies_before_curves_and_its_values_are_listed():
    records = [made(1.0, 0, learning_rate=rate) for rate in (0.1, 0.01)] + [made(1.0, 0, epochs=0)]
    panel = WidthPanel(
        measure="accuracy", curves=[Curve(label="mlp")], listed=("learning_rate",),
        choose=lambda runs: runs.where(learning_rate=0.01),
    )  # fmt: skip
    assert rows(panel.tabulate(Runs(records=records)), "seeds", "learning_rate") == [(1, "0.01")]


@pytest.mark.parametrize("listed", [(), ("learning_rate",)])
def test_a_panel_without_runs_is_empty(listed):
    panel = WidthPanel(measure="accuracy", curves=[Curve(label="mlp")], listed=listed)
    assert panel.tabulate(Runs(records=[])).empty
    assert panel.tabulate(Runs(records=[make_record({"model": "mlp"}, state="diverged")])).empty
