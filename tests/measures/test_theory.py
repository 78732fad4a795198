"""Units of which theory says how redundant, similar and selective they are, measured in networks (DESIGN section 6)."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfunits import measures, surgery

EXAMPLES, FEATURES, UNITS, CLASSES = 1200, 6, 10, 3
# How far a float32 network's outputs may be from those of one that computes the same function.
ROUNDING = 1e-4


def pass_on(num_units: int) -> keras.Model:
    """A network whose tap `units` is its input."""
    inputs = keras.Input((num_units,))
    return keras.Model(inputs, layers.Dense(2)(layers.Activation("linear", name="tap_units")(inputs)))


def independent(rng: np.random.Generator, rows: int, units: int) -> np.ndarray:
    return rng.normal(size=(rows, units)).astype("float32")


@pytest.mark.parametrize("units", [8, 25, 64])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_independent_units_with_many_rows(units, precision, rng):
    """With N >= 100 n, similarity is 0 and floor(0.05 n) units are redundant; every direction is there."""
    found = measures.unit_statistics(pass_on(units), independent(rng, 100 * units, units), precision=precision)
    row = found.redundancy().rows["units"]
    assert row["redundant_units"] == units // 20
    assert not row["rank_limited"]
    assert found.similarity().rows["units"]["similar"] == 0
    assert found.unit_types().rows["units"]["rank"] == units


def test_few_rows_make_independent_units_look_redundant(rng):
    """512 units and 1,000 rows show about 115 redundant ones instead of 25, and the result says that it is limited."""
    found = measures.redundancy(pass_on(512), independent(rng, 1000, 512)).rows["units"]
    assert found["redundant_units"] == pytest.approx(115, abs=4)
    assert found["rank_limited"]
    # Fewer rows than units leave no more directions than rows.
    few = measures.unit_statistics(pass_on(64), independent(rng, 40, 64))
    assert few.unit_types().rows["units"]["rank"] == 39
    assert few.redundancy().rows["units"]["redundant_units"] >= 64 - 39
    assert few.redundancy().rows["units"]["rank_limited"]


@pytest.mark.parametrize(("spread", "redundant"), [(1, 0), (10, 5), (100, 9)])
def test_variances_are_weighed(spread, redundant, rng):
    """Nine independent units of variance 1 and one of spread^2: k of the nine go while k <= 0.05 (9 + spread^2)."""
    rows = independent(rng, 5000, 10) * np.where(np.arange(10) == 0, spread, 1).astype("float32")
    found = measures.unit_statistics(pass_on(10), rows)
    assert found.redundancy().rows["units"]["redundant_units"] == redundant
    assert found.similarity().rows["units"]["similar"] == 0


@pytest.mark.parametrize(("r", "similar"), [(0.45, 0), (0.55, 1), (-0.55, 1)])
def test_pairs_are_similar_from_one_half_on(r, similar, rng):
    """Pairs of units with a known r, up to sampling: its standard deviation is 0.01."""
    first, second = rng.normal(size=(2, 8000, 4))
    rows = np.hstack([first, r * first + np.sqrt(1 - r * r) * second]).astype("float32")
    assert measures.similarity(pass_on(8), rows).rows["units"]["similar"] == similar


def base(seed: int = 0, units: int = UNITS) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(units, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="top")(hidden))
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


# How the second half of the outgoing weights, and the first, depend on the given ones; 0.7 is b.
OUTGOING = {
    "blocked_copy": lambda w: (w, 0 * w),
    "blocked_new": lambda w: (w, 0 * w),
    "balanced": lambda w: (w / 2 + 0.7, w / 2 - 0.7),
    "split": lambda w: (w / 2, w / 2),
    "silent": lambda w: (w, 0 * w + 1),
}
WIDENINGS = tuple(OUTGOING)
COPIES = ("blocked_copy", "balanced", "split")


def widen(model: keras.Model, kind: str) -> keras.Model:
    """Twice the hidden units, for the same function."""
    kernel, bias, top, last_bias = model.get_weights()
    generator = np.random.default_rng(9)
    if kind == "silent":
        new = np.zeros_like(kernel), np.full_like(bias, -1)
    elif kind == "blocked_new":
        new = generator.normal(size=kernel.shape), generator.normal(size=bias.shape)
    else:
        new = kernel, bias
    wide = base(units=2 * UNITS)
    outgoing = np.concatenate(OUTGOING[kind](top))
    wide.set_weights([np.hstack([kernel, new[0]]), np.concatenate([bias, new[1]]), outgoing, last_bias])
    return wide


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return independent(rng, EXAMPLES, FEATURES)


def measured(model: keras.Model, vectors: np.ndarray) -> tuple[float, float, float]:
    """Redundant units, similarity and rank of the hidden layer."""
    found = measures.unit_statistics(model, vectors)
    return (
        found.redundancy().rows["hidden"]["redundant_units"],
        found.similarity().rows["hidden"]["similar"],
        found.unit_types().rows["hidden"]["rank"],
    )


def by_numpy(model: keras.Model, vectors: np.ndarray) -> tuple[float, float, float]:
    """The same from all activations, in float64."""
    rows = surgery.read(model, ["hidden"])(vectors)["hidden"].numpy().astype("float64")
    variances = np.sort(np.linalg.eigvalsh(np.cov(rows, rowvar=False)))
    with np.errstate(invalid="ignore", divide="ignore"):
        similar = (np.abs(np.nan_to_num(np.corrcoef(rows, rowvar=False))) >= 0.5) & ~np.eye(rows.shape[1], dtype=bool)
    redundant = int((np.cumsum(variances) <= 0.05 * variances.sum()).sum())
    return redundant, similar.sum(axis=1).mean(), np.linalg.matrix_rank(rows - rows.mean(axis=0), tol=1e-3)


@pytest.mark.parametrize("kind", WIDENINGS)
def test_widenings_compute_the_same_function(kind, vectors):
    model = base()
    wide = widen(model, kind)
    difference = np.abs(model.predict(vectors, verbose=0) - wide.predict(vectors, verbose=0)).max()
    assert difference < ROUNDING
    # Negative control: the old units alone, unless they have all of the weights.
    half = surgery.mask(wide, {"hidden": np.repeat([1, 0], UNITS)})
    changed = np.abs(model.predict(vectors, verbose=0) - half.predict(vectors, verbose=0)).max() > ROUNDING
    assert changed == (kind in ("balanced", "split"))


@pytest.mark.parametrize("kind", [*COPIES, "silent"])
def test_each_copy_or_silent_unit_is_a_redundant_one(kind, vectors):
    model = base()
    wide = widen(model, kind)
    redundant, similar, rank = measured(model, vectors)
    wide_redundant, wide_similar, wide_rank = measured(wide, vectors)
    assert wide_redundant == redundant + UNITS
    assert similar > 0
    # A silent unit is similar to none, so that the mean over twice the units is half as large.
    assert wide_similar == pytest.approx(similar / 2 if kind == "silent" else 2 * similar + 1)
    assert wide_rank == rank
    for network in (model, wide):
        assert measured(network, vectors) == pytest.approx(by_numpy(network, vectors))
    dead = measures.unit_types(wide, vectors).rows["hidden"]["dead"]
    assert dead == (UNITS if kind == "silent" else 0)


def test_new_units_are_neither_redundant_nor_similar_for_being_blocked(vectors):
    """What a unit is does not depend on what reads it: as many as in a network that uses them."""
    model = base()
    wide = widen(model, "blocked_new")
    redundant, similar, rank = measured(model, vectors)
    wide_redundant, wide_similar, wide_rank = measured(wide, vectors)
    assert wide_redundant < redundant + UNITS
    assert wide_similar < 2 * similar + 1
    assert wide_rank > rank
    assert measured(wide, vectors) == pytest.approx(by_numpy(wide, vectors))
    used = keras.models.clone_model(wide)
    weights = wide.get_weights()
    used.set_weights([*weights[:2], weights[2] + 1, weights[3]])
    assert measured(used, vectors) == measured(wide, vectors)


@pytest.mark.parametrize("bits", [3, 5])
def test_units_of_one_pattern_each_share_one_direction(bits):
    """The parity network of AAAI appendix A: 2^N units, of which each is active for one of the 2^N inputs.

    Their covariance is p I - p^2 1 1^T with p = 2^-N: equal variances in all directions but one, in which nothing
    varies since they sum to 1; r = -1 / (2^N - 1); each is selective for the parity of its pattern alone.
    """
    count = 2**bits
    patterns = np.array(list(itertools.product([0, 1], repeat=bits)), "float32")
    inputs = keras.Input((bits,))
    hidden = layers.Dense(count, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="top")(hidden))
    parity = patterns.sum(axis=1).astype(int) % 2
    top = np.eye(2)[parity]
    model.set_weights([(2 * patterns - 1).T, 1 - patterns.sum(axis=1), top, np.zeros(2)])
    data = tf.data.Dataset.from_tensor_slices((patterns, parity)).batch(6)
    outputs, labels = measures.read_outputs(model, data)
    assert (outputs.argmax(axis=1) == labels).all()
    found = measures.unit_statistics(model, data)
    units = found.taps["hidden"]
    assert found.redundancy().rows["hidden"]["redundant_units"] == 1 + int(0.05 * (count - 1))
    assert units.rank() == count - 1
    np.testing.assert_allclose(units.active_share, 1 / count)
    np.testing.assert_allclose(units.selectivity, 1)
    assert found.similarity().rows["hidden"]["similar"] == 0
    similar = measures.similarity(model, data, threshold=1 / (count - 1)).rows["hidden"]["similar"]
    assert similar == count - 1
    above = measures.similarity(model, data, threshold=1.01 / (count - 1)).rows["hidden"]["similar"]
    assert above == 0


def test_an_identity_unit_is_not_redundant(rng):
    """The other network of AAAI appendix A, of one unit."""
    found = measures.unit_statistics(pass_on(1), rng.integers(2, size=(50, 1)).astype("float32"))
    assert found.redundancy().rows["units"]["redundant_units"] == 0
    assert found.unit_types().rows["units"]["rank"] == 1
