"""What masking single units changes: against masked networks, and in networks whose units are known."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from perturbed_networks import NETWORKS, as_data, call, classes, inputs_of

from tfunits import measures, surgery

KINDS = ("redundant_functional", "redundant_blocked", "distinct_functional", "distinct_blocked", "silent", "constant")
INPUTS = 4


@pytest.mark.parametrize("name", ["branches", "scalar", "shared", "words"])
def test_effects_are_those_of_masked_networks_unit_by_unit(name):
    model = NETWORKS[name]()
    arrays = inputs_of(model, examples=25)
    effects = measures.single_unit_effects(model, as_data(arrays, 10))
    whole = classes(call(model, arrays))
    assert list(effects.changed) == list(surgery.find_taps(model))
    assert effects.num_examples == 25
    for tap, changed in effects.changed.items():
        expected = [
            (classes(call(surgery.mask(model, {tap: mask}), arrays)) != whole).sum()
            for mask in 1 - np.eye(len(changed))
        ]
        np.testing.assert_array_equal(changed, expected)
        row = effects.rows[tap]
        assert row["units"] == len(expected)
        assert row["blocked"] == expected.count(0)
        assert row["mean_change"] == pytest.approx(np.mean(expected) / 25)
        assert row["largest_change"] == max(expected) / 25
    every = np.concatenate(list(effects.changed.values()))
    assert effects.network["units"] == len(every)
    assert effects.network["blocked"] == (every == 0).sum()
    assert effects.network["mean_change"] == pytest.approx(every.mean() / 25)
    assert every.max() > 0


def one_layer(hidden: list, bias: list, out: list, out_bias: list) -> keras.Model:
    """A network of one hidden ReLU layer, each unit one row of incoming and of outgoing weights."""
    hidden, out = np.array(hidden, "float32"), np.array(out, "float32")
    inputs = keras.Input((hidden.shape[1],))
    first, last = layers.Dense(len(hidden), "relu", name="hidden"), layers.Dense(out.shape[1], name="scores")
    model = keras.Model(inputs, last(first(inputs)))
    first.set_weights([hidden.T, np.array(bias, "float32")])
    last.set_weights([out, np.array(out_bias, "float32")])
    return model


# Name -> (incoming weights, bias, outgoing weights) of units on four independent positive inputs, and their kind.
KNOWN = {
    "decides": ([1, 0, 0, 0], 0, [0, 2], "distinct_functional"),
    "blocked new": ([0, 1, 0, 0], 0, [0, 0], "distinct_blocked"),
    "copied": ([0, 0, 1, 0], 0, [1, 0], "redundant_functional"),
    "functional copy": ([0, 0, 2, 0], 0, [1, 0], "redundant_functional"),
    "blocked copy": ([0, 0, 3, 0], 0, [0, 0], "redundant_blocked"),
    "dead": ([-1, -1, -1, -1], 0, [5, 0], "silent"),
    "always one": ([0, 0, 0, 0], 1, [0.5, 0], "constant"),
    "nearly constant": ([0, 0, 0, 0.01], 10, [0, 0], "constant"),
}


@pytest.fixture
def known() -> keras.Model:
    return one_layer(*([unit[i] for unit in KNOWN.values()] for i in range(3)), [0, 0])


@pytest.fixture
def positive(rng) -> np.ndarray:
    return rng.uniform(0, 4, size=(400, INPUTS)).astype("float32")


def test_units_of_known_kinds(known, positive):
    kinds = measures.unit_kinds(known, positive)
    row = kinds.rows["hidden"]
    expected = {kind: [unit[3] for unit in KNOWN.values()].count(kind) for kind in KINDS}
    assert {kind: row[kind] for kind in KINDS} == expected
    assert kinds.network["units"] == row["units"] == len(KNOWN)
    assert not row["rank_limited"]
    # Negative control: without the copies, the unit that was copied is distinct.
    alone = [unit for name, unit in KNOWN.items() if "copy" not in name]
    rows = measures.unit_kinds(one_layer(*([unit[i] for unit in alone] for i in range(3)), [0, 0]), positive).rows
    assert rows["hidden"]["redundant_functional"] == rows["hidden"]["redundant_blocked"] == 0
    assert rows["hidden"]["distinct_functional"] == 2


def test_a_silent_unit_may_be_active_now_and_then(positive):
    """On 3 of 400 examples it is silent, on 5 it is not."""
    for active, kind in ((3, "silent"), (5, "distinct_blocked")):
        threshold = np.sort(positive[:, 1])[-active - 1]
        model = one_layer([[1, 0, 0, 0], [0, 1, 0, 0]], [0, -threshold], [[0, 2], [0, 0]], [2, 0])
        assert measures.unit_kinds(model, positive).rows["hidden"][kind] == 1


def test_a_sum_of_other_units_is_redundant(positive):
    """Correlation with no single unit would tell; three units of which each is a function of the others."""
    model = one_layer([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], [0] * 4, np.zeros((4, 2)), [1, 0])
    row = measures.unit_kinds(model, positive).rows["hidden"]
    assert (row["redundant_blocked"], row["distinct_blocked"]) == (3, 1)


def test_how_much_must_be_explained(rng):
    """A unit with a tenth of its variance of its own is redundant at 0.8 and not at 0.95."""
    inputs = rng.normal(10, 1, size=(2000, INPUTS)).astype("float32")
    own = np.sqrt(1 / 9)
    model = one_layer([[1, 0, 0, 0], [1, own, 0, 0]], [0, 0], np.zeros((2, 2)), [1, 0])
    explained = np.corrcoef(inputs[:, 0], inputs[:, 0] + own * inputs[:, 1])[0, 1] ** 2
    assert 0.8 < explained < 0.95
    for fraction, redundant in ((0.8, 2), (0.95, 0)):
        row = measures.unit_kinds(model, inputs, variance_fraction=fraction).rows["hidden"]
        assert row["redundant_blocked"] == redundant


@pytest.mark.parametrize("name", ["branches", "residual", "gated"])
def test_the_kinds_add_up_to_the_units(name):
    model = NETWORKS[name]()
    kinds = measures.unit_kinds(model, inputs_of(model, examples=30)[0])
    for row in [*kinds.rows.values(), kinds.network]:
        assert sum(row[kind] for kind in KINDS) == row["units"]
    effects = measures.single_unit_effects(model, inputs_of(model, examples=30)[0])
    for tap, row in kinds.rows.items():
        assert row["redundant_blocked"] + row["distinct_blocked"] <= effects.rows[tap]["blocked"]
        functional = row["redundant_functional"] + row["distinct_functional"]
        assert functional <= (effects.changed[tap] > 0).sum()


@pytest.mark.parametrize("measure", [measures.single_unit_effects, measures.unit_kinds])
def test_batches_and_taps_do_not_matter(measure):
    model = NETWORKS["branches"]()
    arrays = inputs_of(model, examples=30)
    whole = measure(model, arrays[0])
    assert measure(model, as_data(arrays, 7)).to_dict() == whole.to_dict()
    some = measure(model, arrays[0], taps=["right", "left"])
    assert list(some.rows) == ["left", "right"]
    assert some.rows["left"] == whole.rows["left"]


@pytest.mark.parametrize("measure", [measures.single_unit_effects, measures.unit_kinds])
def test_what_cannot_be_measured_is_refused(measure, known, positive):
    with pytest.raises(ValueError, match=r"taps: expected taps of '.*' \(hidden\), received \['nothing'\]"):
        measure(known, positive, taps=["nothing"])
    with pytest.raises(ValueError, match="expected a functional Keras model"):
        measure(keras.Sequential([layers.Dense(3)]), positive)
    with pytest.raises(ValueError, match=r"expected batches of inputs of shape \(4,\)"):
        measure(known, positive[:, :3])
    two = keras.Model(known.input, [known.output, known.get_layer("hidden").output])
    with pytest.raises(ValueError, match="expected one output"):
        measure(two, positive)


def test_kinds_need_two_rows_and_a_share(known, positive):
    for fraction in (0, 1.1):
        with pytest.raises(ValueError, match=r"variance_fraction: expected a number in \(0, 1\]"):
            measures.unit_kinds(known, positive, variance_fraction=fraction)
    with pytest.raises(ValueError, match="samples: expected at least two, received 1"):
        measures.unit_kinds(known, positive[:1])
    assert measures.unit_kinds(known, positive[:10]).network["rank_limited"]


def parity_data(bits: int) -> np.ndarray:
    """Every pattern once: the parity of the last bits, then the bits."""
    patterns = np.array(list(itertools.product([0, 1], repeat=bits)))
    return np.column_stack([patterns.sum(axis=1) % 2, patterns]).astype("float32")


# Scores of even, odd and neither, the last for when nothing is detected.
NEITHER = [0.0, 0.0, 0.5]


def minterm_network(bits: int) -> keras.Model:
    """One unit per pattern, which is 1 on this pattern and 0 on all others."""
    patterns = parity_data(bits)[:, 1:]
    hidden = np.column_stack([np.zeros(2**bits), 2 * patterns - 1])
    out = np.eye(3)[patterns.sum(axis=1).astype(int) % 2]
    return one_layer(hidden, 1 - patterns.sum(axis=1), out, NEITHER)


def identity_network(bits: int) -> keras.Model:
    """One unit that passes the first input on, and copies of it that nothing reads."""
    units = 2**bits
    hidden = np.zeros((units, bits + 1))
    hidden[:, 0] = 1
    out = np.zeros((units, 3))
    out[0] = [-1, 1, 0]
    return one_layer(hidden, np.zeros(units), out, [0.75, 0.25, 0.5])


@pytest.mark.parametrize("bits", [3, 4])
def test_parity_by_minterms_needs_every_unit_and_by_identity_one(bits):
    """Casper et al. 2021, appendix A: the same function on 2^N units, all frivolous but one or none frivolous."""
    units, data = 2**bits, parity_data(bits)
    labels = data[:, 0]
    minterms, identity = minterm_network(bits), identity_network(bits)
    for model in (minterms, identity):
        np.testing.assert_array_equal(model(data).numpy().argmax(axis=1), labels)

    assert measures.single_unit_effects(minterms, data).changed["hidden"].tolist() == [1] * units
    odd = units // 2
    assert measures.single_unit_effects(identity, data).changed["hidden"].tolist() == [odd, *[0] * (units - 1)]

    draws = 60
    robust = measures.ablation_curves(identity, data, draws=draws, levels=5).joint
    fragile = measures.ablation_curves(minterms, data, draws=draws, levels=5).joint
    np.testing.assert_array_equal(fragile.agreement, np.tile(1 - fragile.fractions, (draws, 1)))
    np.testing.assert_allclose(fragile.crossings(), 0.2)
    # Half of the labels survive the loss of the one unit, which the share of masked units makes as likely.
    assert set(robust.agreement.ravel()) == {1.0, 0.5}
    lost = (robust.agreement == 0.5).mean(axis=0)
    spread = np.sqrt(robust.fractions * (1 - robust.fractions) / draws)
    assert (np.abs(lost - robust.fractions) <= 4 * spread).all()
    assert robust.area > fragile.area

    redundant = [measures.redundancy(model, data).rows["hidden"]["redundant_units"] for model in (minterms, identity)]
    # Any unit of a one-hot code follows from the others, and 95 % of 2^N - 1 equal variances need all of them.
    assert redundant == [1, units - 1]
    kinds = [measures.unit_kinds(model, data).rows["hidden"] for model in (minterms, identity)]
    assert kinds[0]["redundant_functional"] == units
    assert (kinds[1]["redundant_functional"], kinds[1]["redundant_blocked"]) == (1, units - 1)
