"""Statistics of units against NumPy and scikit-learn on all activations, float64."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats
from sklearn.decomposition import PCA

from tfunits import measures, models, surgery
from tfunits.measures.units import read_moments
from tfunits.surgery import Graph, Inputs, tap_keys

SIDE = 3
POSITIONS = SIDE * SIDE
# A correct draw fails a test of uniformity at this p-value once in ten thousand seeds.
LEAST_P = 1e-4


def batches(inputs: np.ndarray, size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(inputs).batch(size)


def identity(*shape: int) -> keras.Model:
    """A network whose tap `units` is its input."""
    inputs = keras.Input(shape)
    units = layers.Activation("linear", name="tap_units")(inputs)
    flat = layers.Flatten()(units) if len(shape) > 1 else units
    return keras.Model(inputs, layers.Dense(3)(flat))


def position_images(examples: int) -> np.ndarray:
    """Maps with one unit a position, which is 1 there and 0 elsewhere: a unit's mean counts its position's rows."""
    return np.tile(np.eye(POSITIONS, dtype="float32").reshape(SIDE, SIDE, POSITIONS), (examples, 1, 1, 1))


def numbered_maps(examples: int, positions: int = POSITIONS) -> tuple[keras.Model, np.ndarray]:
    """A network and maps [examples, positions, examples] in which unit e is not 0 in example e alone, where position p
    is 2^p: a unit's sum over rows tells which positions its example gave."""
    values = np.zeros((examples, positions, examples), "float32")
    values[np.arange(examples), :, np.arange(examples)] = 2.0 ** np.arange(positions)
    return identity(positions, examples), values


def drawn_positions(statistics: measures.NetworkStatistics, positions: int = POSITIONS) -> np.ndarray:
    """Which positions every example gave, bool [samplings, examples, positions], of `numbered_maps`."""
    units = statistics.taps["units"]
    sums = np.round(units.mean * units.num_rows).astype(int)
    return (sums[..., None] >> np.arange(positions)) & 1 == 1


def rows_by_position(statistics: measures.NetworkStatistics) -> np.ndarray:
    """How many rows each position gave, [samplings, positions]."""
    units = statistics.taps["units"]
    return units.mean * units.num_rows


def all_rows(model: keras.Model, tap: str, inputs: np.ndarray) -> np.ndarray:
    values = surgery.read(model, [tap])(inputs)[tap].numpy()
    return values.reshape(-1, values.shape[-1]).astype("float64")


def components(rows: np.ndarray, share: float = 0.95) -> int:
    """Components that hold a share of the variance, by scikit-learn."""
    return int(np.searchsorted(np.cumsum(PCA(svd_solver="full").fit(rows).explained_variance_ratio_), share) + 1)


def similar(rows: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Other units at or above |r|; none for constant units."""
    with np.errstate(invalid="ignore", divide="ignore"):
        large = np.abs(np.corrcoef(rows, rowvar=False)) >= threshold
    return (large & ~np.eye(rows.shape[1], dtype=bool)).sum(axis=1)


@pytest.mark.parametrize("network", ["branched", "alexnet"])
def test_statistics_are_those_of_all_activations(network, branched_model, images):
    """At rectified maps, a concatenation, a gated product behind a residual sum, and dense layers."""
    model = branched_model
    if network == "alexnet":
        model = models.build("alexnet", size=0.0625, input_shape=(8, 8, 3), num_classes=4)
    found = measures.unit_statistics(model, batches(images, 8))
    assert list(found.taps) == list(surgery.find_taps(model))
    redundancy, similarity, types = found.redundancy(), found.similarity(), found.unit_types()
    for tap, units in found.taps.items():
        rows = all_rows(model, tap, images)
        covariance = np.cov(rows, rowvar=False)
        # Float32 activations are computed once for each side, so that they differ by rounding.
        tolerance = {"rtol": 1e-5, "atol": 1e-5 * covariance.max()}
        assert units.num_rows == len(rows)
        np.testing.assert_allclose(units.mean[0], rows.mean(axis=0), **tolerance)
        np.testing.assert_allclose(units.std[0], rows.std(axis=0, ddof=1), **tolerance)
        np.testing.assert_allclose(units.principal_variances[0], np.linalg.eigvalsh(covariance)[::-1], **tolerance)
        np.testing.assert_allclose(units.active_share, (rows != 0).mean(axis=0))
        np.testing.assert_array_equal(units.num_similar[0], similar(rows))
        assert redundancy.rows[tap]["redundant_units"] == rows.shape[1] - components(rows)
        assert similarity.rows[tap]["similar"] == pytest.approx(similar(rows).mean())
        assert types.rows[tap]["dead"] == (rows == 0).all(axis=0).sum()
        assert types.rows[tap]["silent"] == ((rows != 0).mean(axis=0) < 0.01).sum()
        assert types.rows[tap]["rows"] == len(rows)
        assert redundancy.rows[tap]["rank_limited"] == (len(rows) < 5 * rows.shape[1])


def test_statistics_of_other_inputs_differ(branched_model, images):
    """Negative control of the tolerances above."""
    left, right = (measures.unit_statistics(branched_model, part) for part in (images[:13], images[13:]))
    for tap in left.taps:
        assert np.abs(left.taps[tap].mean - right.taps[tap].mean).max() > 1e-3


def test_a_share_of_the_variance_and_a_threshold_are_arguments(branched_model, images):
    rows = all_rows(branched_model, "joined", images)
    redundant = measures.redundancy(branched_model, images, variance_fraction=0.6, taps=["joined"])
    assert redundant.rows["joined"]["redundant_units"] == 8 - components(rows, 0.6) > 8 - components(rows)
    found = measures.similarity(branched_model, images, threshold=0.1, taps=["joined"])
    assert found.rows["joined"]["similar"] == pytest.approx(similar(rows, 0.1).mean())
    assert similar(rows, 0.1).mean() > similar(rows).mean()


@pytest.mark.parametrize("size", [4, 12, 24])
def test_nothing_depends_on_the_batch_size(size, branched_model, images):
    whole = measures.unit_statistics(branched_model, batches(images[:24], 24), max_rows=240)
    parts = measures.unit_statistics(branched_model, batches(images[:24], size), max_rows=240)
    for tap, units in whole.taps.items():
        assert parts.taps[tap].num_rows == units.num_rows
        np.testing.assert_allclose(parts.taps[tap].mean, units.mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(parts.taps[tap].principal_variances, units.principal_variances, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [4, 8, 9])
def test_an_uneven_last_batch_takes_no_rows_away(size):
    """27 examples of 9 positions and room for 81 rows: three of each example, whatever the batches."""
    found = measures.unit_statistics(identity(SIDE, SIDE, POSITIONS), batches(position_images(27), size), max_rows=81)
    assert found.taps["units"].num_rows == 81


def test_an_array_of_more_than_one_batch_loses_no_rows():
    found = measures.unit_statistics(identity(SIDE, SIDE, POSITIONS), position_images(130), max_rows=260)
    assert found.taps["units"].num_rows == 260


def test_a_large_offset_costs_no_digits(rng):
    """Offset 1e4, spread 1e-3: a unit in the last place of such float32 numbers."""
    common = rng.normal(size=(2000, 1))
    noise = rng.normal(size=(2000, 4))
    rows = (1e4 + 4e-3 * (common * [1, -1, 0, 0] + 0.5 * noise)).astype("float32")
    units = measures.unit_statistics(identity(4), batches(rows, 300)).taps["units"]
    exact = rows.astype("float64")
    expected = np.linalg.eigvalsh(np.cov(exact, rowvar=False))[::-1]
    np.testing.assert_allclose(units.principal_variances[0], expected, rtol=1e-6)
    np.testing.assert_allclose(units.std[0], exact.std(axis=0, ddof=1), rtol=1e-6)
    assert units.num_similar[0].tolist() == similar(exact).tolist() == [1, 1, 0, 0]
    # Negative control: E[x^2] - E[x]^2 in float32.
    naive = (rows * rows).mean(axis=0) - rows.mean(axis=0) ** 2
    assert (np.abs(naive / exact.var(axis=0) - 1) > 1).any()


def test_dead_silent_and_constant_units(rng):
    rows = np.abs(rng.normal(size=(400, 5))) + 1
    rows[:, 1] = 0  # dead
    rows[:, 2] = 0
    rows[:3, 2] = 1  # active on 0.75 %: silent
    rows[:, 3] = 7  # constant
    rows[:, 4] = 100 + 0.1 * rng.normal(size=400)  # varies by 0.1 %
    types = measures.unit_types(identity(5), rows.astype("float32"))
    assert dict(types.rows["units"]) == {"units": 5, "dead": 1, "silent": 2, "constant": 3, "rank": 3, "rows": 400}
    assert dict(types.network) == {"units": 5, "dead": 1, "silent": 2, "constant": 3}


def test_constant_units_are_similar_to_none(rng):
    rows = rng.normal(size=(400, 1)) @ np.ones((1, 4))
    rows[:, 2:] = [0, 7]
    inputs = rows.astype("float32")
    exact, authors = (measures.similarity(identity(4), inputs, protocol=name) for name in ("exact", "authors"))
    assert exact.rows["units"]["similar"] == (1 + 1 + 0 + 0) / 4
    assert authors.rows["units"]["similar"] == (1 + 1 - 1 - 1) / 4


def test_a_dead_layer_is_wholly_redundant():
    inputs = np.zeros((50, 4), "float32")
    found = measures.redundancy(identity(4), inputs).rows["units"]
    assert (found["redundant_units"], found["redundant"], found["not_redundant"]) == (4, 1, 0)
    assert measures.similarity(identity(4), inputs).rows["units"]["similar"] == 0
    authors = measures.redundancy(identity(4), inputs, protocol="authors").rows["units"]
    assert authors["redundant_units"] == 1


@pytest.mark.parametrize(("units", "redundant"), [(16, 1), (32, 2), (128, 7)])
def test_the_authors_count_the_component_that_crosses_the_line(units, redundant):
    """Equal variances, one less by the exact rule (FACTS 7)."""
    rows = np.concatenate([np.eye(units), -np.eye(units)]).astype("float32")
    found = {name: measures.redundancy(identity(units), rows, protocol=name) for name in ("exact", "authors")}
    assert found["authors"].rows["units"]["redundant_units"] == redundant
    assert found["exact"].rows["units"]["redundant_units"] == redundant - 1


def test_one_unit(rng):
    found = measures.unit_statistics(identity(1), rng.normal(size=(40, 1)).astype("float32"))
    assert found.redundancy().rows["units"]["redundant_units"] == 0
    row = found.similarity().rows["units"]
    assert (row["similar"], row["share_of_pairs"]) == (0, 0)


@pytest.mark.parametrize(("examples", "limited"), [(3, True), (29, True), (30, False)])
def test_few_rows_are_said_to_limit_the_rank(examples, limited, rng):
    """Six units need thirty rows."""
    found = measures.redundancy(identity(6), rng.normal(size=(examples, 6)).astype("float32"))
    assert found.rows["units"]["rank_limited"] is found.network["rank_limited"] is limited
    if examples == 3:
        assert found.rows["units"]["redundant_units"] >= 6 - 2


def test_copies_of_units_are_redundant_and_similar(rng):
    """Doubling every unit adds one redundant unit a copy and takes similarity s to 2 s + 1 (DESIGN 6)."""
    rows = rng.normal(size=(300, 4)) @ np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    once, twice = (measures.unit_statistics(identity(4 * n), np.tile(rows, (1, n)).astype("float32")) for n in (1, 2))
    left, right = (found.redundancy().rows["units"]["redundant_units"] for found in (once, twice))
    assert right == left + 4
    left, right = (found.similarity().rows["units"]["similar"] for found in (once, twice))
    assert left == 0.5
    assert right == 2 * left + 1


def test_sampled_rows_are_activations_of_every_example_alike():
    examples, rows = 40, 4
    model, data = identity(SIDE, SIDE, POSITIONS), batches(position_images(examples), 10)
    found = measures.unit_statistics(model, data, max_rows=examples * rows + 5)
    counts = rows_by_position(found)
    assert found.taps["units"].num_rows == examples * rows
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    # No position is drawn twice from an example.
    assert counts.max() <= examples
    np.testing.assert_allclose(counts.sum(axis=1), found.taps["units"].num_rows)


def test_samplings_are_three_different_ones_and_follow_the_seed():
    model, images = identity(SIDE, SIDE, POSITIONS), position_images(40)

    def sampled(seed):
        return rows_by_position(measures.unit_statistics(model, images, max_rows=120, seed=seed))

    first, again, other = sampled(0), sampled(0), sampled(1)
    assert first.shape == (3, POSITIONS)
    assert len({tuple(np.round(row)) for row in [*first, *other]}) == 6
    np.testing.assert_array_equal(first, again)


def test_positions_are_drawn_uniformly():
    examples, rows = 900, 3
    model, data = identity(SIDE, SIDE, POSITIONS), batches(position_images(examples), 300)
    counts = rows_by_position(measures.unit_statistics(model, data, max_rows=rows * examples))
    # A position is drawn from an example with probability 1/3: binomial with standard deviation 14.1; five of them.
    assert np.abs(counts - examples * rows / POSITIONS).max() < 71


def test_examples_do_not_share_their_positions():
    """With shared draws every count would be 0 or the number of examples."""
    model, images = identity(SIDE, SIDE, POSITIONS), position_images(30)
    counts = rows_by_position(measures.unit_statistics(model, images, max_rows=90, samplings=1))
    assert counts.shape == (1, POSITIONS)
    assert ((counts > 0) & (counts < 30)).any()


@pytest.mark.parametrize("size", [7, 60])
def test_of_more_examples_than_rows_some_are_drawn(rng, size):
    """Rows are numbered by their first unit, so that the sums tell which were read."""
    inputs = np.column_stack([np.arange(60), rng.normal(size=(60, 3))]).astype("float32")
    found = measures.unit_statistics(identity(4), batches(inputs, size), max_rows=10).taps["units"]
    assert found.mean.shape == (3, 4)
    assert found.num_rows == 10
    whole = measures.unit_statistics(identity(4), inputs, max_rows=10).taps["units"]
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-6)
    assert len(set(found.mean[:, 0])) == 3
    # Ten different whole numbers below 60.
    assert np.all(found.std[:, 0] >= np.std(np.arange(10), ddof=1))
    np.testing.assert_allclose(found.mean[:, 0] * 10, np.round(found.mean[:, 0] * 10), atol=1e-6)


def test_dead_units_are_judged_on_all_positions():
    """A unit that is not 0 at a single position of a large map is not dead, however few rows are sampled."""
    images = np.zeros((40, SIDE, SIDE, 2), "float32")
    images[17, 1, 1, 0] = 1
    found = measures.unit_statistics(identity(SIDE, SIDE, 2), images, max_rows=40).taps["units"]
    assert found.dead.tolist() == [False, True]
    np.testing.assert_allclose(found.active_share, [1 / (40 * SIDE * SIDE), 0])


@pytest.mark.parametrize("max_rows", [None, 0, 10_000])
def test_all_rows_are_read_where_they_fit(max_rows):
    found = measures.unit_statistics(identity(SIDE, SIDE, POSITIONS), position_images(20), max_rows=max_rows)
    np.testing.assert_allclose(rows_by_position(found), [[20] * POSITIONS])


def test_only_the_taps_asked_for_are_read(branched_model, images):
    some = measures.unit_statistics(branched_model, images, taps=["joined", "first"])
    every = measures.unit_statistics(branched_model, images)
    assert list(some.taps) == ["first", "joined"]
    np.testing.assert_allclose(some.taps["joined"].mean, every.taps["joined"].mean, rtol=1e-6)


def test_a_network_with_dropout_is_read_at_inference(rng):
    inputs = keras.Input((4,))
    dropped = layers.Dropout(0.5, name="tap_dropped")(inputs, training=True)
    rows = rng.normal(size=(50, 4)).astype("float32")
    found = measures.unit_statistics(keras.Model(inputs, layers.Dense(2)(dropped)), rows).taps["dropped"]
    np.testing.assert_allclose(found.mean[0], rows.mean(axis=0, dtype="float64"), atol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: measures.unit_statistics(m, x, taps=["no"]), r"taps: expected taps of '.*' \(units\), received"),
        (lambda m, x: measures.unit_statistics(m, x, taps=[]), "taps: expected"),
        (lambda m, x: measures.unit_statistics(m, x[:1]), "samples: expected at least two, received 1"),
        (lambda m, x: measures.unit_statistics(m, x, samplings=0), "samplings: expected"),
        (lambda m, x: measures.unit_statistics(m, x, max_rows=-1), "max_rows: expected"),
        (lambda m, x: measures.redundancy(m, x, variance_fraction=0), "variance_fraction: expected a number in"),
        (
            lambda m, x: measures.redundancy(m, x, protocol="mine"),
            "protocol: expected one of exact, authors, received 'mine'",
        ),
        (lambda m, x: measures.similarity(m, x, threshold=2), "threshold: expected a number in"),
        (lambda m, x: measures.similarity(m, x, protocol="mine"), "protocol: expected"),
    ],
)
def test_options_that_are_not_of_these_are_refused(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(identity(4), rng.normal(size=(10, 4)).astype("float32"))


def test_models_that_cannot_be_read_are_refused(images):
    with pytest.raises(ValueError, match="expected a functional Keras model"):
        measures.unit_statistics(keras.Sequential([layers.Dense(3)]), images)
    inputs = keras.Input((None, None, 3))
    maps = layers.Conv2D(4, 3, activation="relu", name="maps")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(maps)))
    with pytest.raises(ValueError, match="taps: expected a tap of known size, received 'maps'"):
        measures.unit_statistics(model, images)


def sampled(model, data, *, rows, **options) -> np.ndarray:
    options = {"precision": "float64", **options}
    return drawn_positions(measures.unit_statistics(model, data, max_rows=rows, **options))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_positions_of_an_example_are_distinct_and_as_many_from_each(count):
    """A position drawn twice would count as the next one, so that the number of positions would be another."""
    model, maps = numbered_maps(24)
    drawn = sampled(model, maps, rows=24 * count + 7)
    assert drawn.shape == (3, 24, POSITIONS)
    assert (drawn.sum(axis=2) == count).all()
    found = measures.unit_statistics(model, maps, max_rows=24 * count + 7).taps["units"]
    assert found.num_rows == 24 * count


@pytest.mark.parametrize("size", [1, 5, 24])
def test_the_positions_of_an_example_are_a_function_of_its_number(size, two_devices):
    model, maps = numbered_maps(24)
    whole = sampled(model, maps, rows=100)
    np.testing.assert_array_equal(sampled(model, batches(maps, size), rows=100), whole)
    np.testing.assert_array_equal(sampled(model, batches(maps, size), rows=100, strategy=two_devices), whole)
    # Other examples have other positions, and so have other seeds, samplings and names of taps.
    assert len({example.tobytes() for example in whole[0]}) > 12
    named = keras.Sequential([keras.Input(maps.shape[1:]), layers.Activation("linear", name="tap_other")])
    named = keras.Model(named.inputs, layers.Dense(2)(named.outputs[0]))
    renamed = measures.unit_statistics(named, maps, max_rows=100, precision="float64").taps["other"]
    other_tap = drawn_positions(measures.NetworkStatistics(taps={"units": renamed}, settings={}))
    for other in (sampled(model, maps, rows=100, seed=1)[0], whole[1], whole[2], other_tap[0]):
        assert (other != whole[0]).any(axis=1).sum() > 12
    # More samplings, and fewer, begin with the same ones.
    np.testing.assert_array_equal(sampled(model, maps, rows=100, samplings=1)[0], whole[0])


@pytest.mark.parametrize(("positions", "count"), [(4, 2), (5, 3), (6, 5), (6, 1)])
def test_every_set_of_positions_is_equally_likely(positions, count):
    """Floyd's algorithm gives each of the (positions choose count) sets; four samplings of 600 examples."""
    model, maps = numbered_maps(600, positions)
    found = measures.unit_statistics(model, maps, max_rows=600 * count, samplings=4, precision="float64")
    counts = dict.fromkeys(itertools.combinations(range(positions), count), 0)
    for example in drawn_positions(found, positions).reshape(-1, positions):
        counts[tuple(np.flatnonzero(example).tolist())] += 1
    assert sum(counts.values()) == 600 * 4
    assert stats.chisquare(list(counts.values())).pvalue > LEAST_P


def test_samplings_are_independent():
    """Two samplings of one position of nine agree in a ninth of the examples; so do neighbouring examples, of the same
    sampling and of two, whose random numbers would overlap if one began a step behind the other."""
    model, maps = numbered_maps(450)
    left, right = sampled(model, maps, rows=450, samplings=2).argmax(axis=2)
    for one, other in ((left, right), (left[1:], left[:-1]), (left[1:], right[:-1]), (left[:-1], right[1:])):
        assert stats.binomtest(int((one == other).sum()), len(one), 1 / POSITIONS).pvalue > LEAST_P


@pytest.mark.parametrize("samples", [None, 0])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_samples_are_numpys_over_all_positions(samples, precision, branched_model, images):
    found = measures.unit_statistics(branched_model, batches(images, 8), max_rows=samples, precision=precision)
    for tap, units in found.taps.items():
        rows = all_rows(branched_model, tap, images)
        assert units.mean.shape[0] == 1
        assert units.num_rows == len(rows)
        expected = np.linalg.eigvalsh(np.cov(rows, rowvar=False))[::-1]
        np.testing.assert_allclose(units.principal_variances[0], expected, rtol=1e-5, atol=1e-6 * expected[0])
    few = measures.unit_statistics(branched_model, images, max_rows=300, precision=precision)
    variances = few.taps["joined"].principal_variances
    assert (np.abs(variances / found.taps["joined"].principal_variances - 1).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("max_rows", [50_000, 100])
@pytest.mark.parametrize("size", [8, 13])
def test_several_devices_give_the_same_numbers(size, max_rows, branched_model, images, two_devices):
    """27 examples in batches of 8 and 13, the last of 3 and of 1: one device has none of that."""
    labels = np.arange(len(images)) % 3
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)
    one, two = (
        measures.unit_statistics(branched_model, data, max_rows=max_rows, strategy=s) for s in (None, two_devices)
    )
    for tap, units in one.taps.items():
        other = two.taps[tap]
        assert other.num_rows == units.num_rows
        for name in ("mean", "std", "principal_variances", "selectivity"):
            value = getattr(units, name)
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-4, atol=1e-5 * np.abs(value).max())
        np.testing.assert_array_equal(other.active_share, units.active_share)
        np.testing.assert_array_equal(other.num_similar, units.num_similar)


def test_precision_is_that_of_the_products(rng):
    """In float64 two copies of a unit leave no variance but rounding of 1e-16 of it."""
    # Float32 activations of scaled copies differ by their own rounding; whole numbers by none.
    rows = (np.round(1000 * rng.normal(size=(3000, 1))) @ np.array([[1, 3, -7]])).astype("float32") + 0.125
    exact = measures.unit_statistics(identity(3), rows, precision="float64").taps["units"]
    assert (exact.principal_variances[0, 1:] < 1e-14 * exact.principal_variances[0, 0]).all()
    assert exact.rank() == 1
    assert measures.unit_statistics(identity(3), rows).taps["units"].rank() == 1


def labelled(inputs: np.ndarray, labels: np.ndarray, size: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(size)


def selectivity_by_hand(rows: np.ndarray, labels: np.ndarray) -> list[float]:
    found = []
    for unit in rows.T:
        means = {label: unit[labels == label].mean() for label in np.unique(labels)}
        best = max(means, key=means.get)
        rest = np.mean([mean for label, mean in means.items() if label != best])
        found.append((means[best] - rest) / (means[best] + rest) if means[best] + rest else 0)
    return found


@pytest.mark.parametrize("size", [5, 27])
@pytest.mark.parametrize("max_rows", [50_000, 60])
def test_selectivity_is_of_all_positions_of_every_class(size, max_rows, branched_model, images, rng):
    """Class 3 has no example, which is no class of mean 0; maps are averaged over all their positions."""
    labels = rng.choice([0, 1, 2, 4], size=len(images))
    found = measures.unit_statistics(branched_model, labelled(images, labels, size), max_rows=max_rows)
    for tap, units in found.taps.items():
        values = surgery.read(branched_model, [tap])(images)[tap].numpy().astype("float64")
        expected = selectivity_by_hand(values.mean(axis=tuple(range(1, values.ndim - 1))), labels)
        np.testing.assert_allclose(units.selectivity, expected, rtol=1e-4, atol=1e-5)
    types = found.unit_types(selectivity=0.2)
    for tap, row in types.rows.items():
        assert row["selective"] == (found.taps[tap].selectivity >= 0.2).sum()
    assert types.network["selective"] == sum(row["selective"] for row in types.rows.values())
    other = measures.unit_statistics(branched_model, labelled(images, np.roll(labels, 1)))
    assert np.abs(other.taps["joined"].selectivity - found.taps["joined"].selectivity).max() > 1e-3


def test_units_of_one_class_are_selective_and_shared_ones_are_not():
    labels = np.arange(60) % 3
    inputs = np.column_stack([labels == 0, labels == 2, np.ones(60), np.zeros(60), 1 + 0.02 * (labels == 1)])
    for given in (labels, labels.astype("uint8"), labels[:, None]):
        units = measures.unit_statistics(identity(5), labelled(inputs.astype("float32"), given)).taps["units"]
        np.testing.assert_allclose(units.selectivity, [1, 1, 0, 0, 0.02 / 2.02], atol=1e-6)
        types = measures.unit_types(identity(5), labelled(inputs.astype("float32"), given))
        assert types.rows["units"]["selective"] == 2


def test_labels_of_minus_one_and_one_are_two_classes():
    labels = np.array([-1, 1] * 20)
    inputs = np.column_stack([labels == -1, labels == 1, np.ones(40)]).astype("float32")
    whole = identity(3)
    model = keras.Model(whole.input, layers.Dense(1)(whole.get_layer("tap_units").output))
    units = measures.unit_statistics(model, labelled(inputs, labels)).taps["units"]
    np.testing.assert_allclose(units.selectivity, [1, 1, 0])


@pytest.mark.parametrize("labels", [np.arange(40) * 30_000, np.arange(40) - 7])
def test_whole_numbers_that_are_no_classes_are_no_labels(labels, rng):
    """Names of examples, or values of a regression: nothing is said of classes, whatever their size."""
    inputs = rng.uniform(size=(40, 3)).astype("float32")
    types = measures.unit_types(identity(3), labelled(inputs, labels))
    assert "selective" not in types.rows["units"]


def test_units_with_a_negative_class_mean_have_no_selectivity(rng):
    inputs = np.column_stack([np.arange(40) % 2, np.arange(40) % 2 - 0.5]).astype("float32")
    units = measures.unit_statistics(identity(2), labelled(inputs, np.arange(40) % 2)).taps["units"]
    np.testing.assert_allclose(units.selectivity, [1, np.nan])
    assert units.selective().tolist() == [True, False]


@pytest.mark.parametrize("kind", ["none", "float", "one_hot"])
def test_without_labels_nothing_is_said_of_classes(kind, rng):
    inputs = rng.normal(size=(40, 3)).astype("float32")
    data = {
        "none": inputs,
        "float": labelled(inputs, np.zeros(40, "float32")),
        "one_hot": labelled(inputs, np.eye(4, dtype="int32")[np.arange(40) % 4]),
    }[kind]
    found = measures.unit_statistics(identity(3), data)
    assert not found.taps["units"].has_classes
    assert "selective" not in found.unit_types().rows["units"]
    assert "selective" not in found.unit_types().network


def test_classes_are_read_of_sampled_maps_too(rng):
    """What a reading holds, against numpy: means over all positions, moments over those drawn."""
    maps, labels = rng.normal(size=(30, SIDE, SIDE, 2)).astype("float32"), np.arange(30) % 3
    model = identity(SIDE, SIDE, 2)
    graph = Graph(model)
    inputs = Inputs(labelled(maps, labels), "test", model)
    found = read_moments(graph, tap_keys(graph), inputs, max_rows=60, samplings=2)["units"]
    expected = [maps[labels == label].mean(axis=(0, 1, 2), dtype="float64") for label in range(3)]
    np.testing.assert_allclose(found.class_means, expected, rtol=1e-5, atol=1e-6)
    assert [moments.count for moments in found.moments] == [60, 60]
    np.testing.assert_allclose(found.active_share, [1, 1])
    assert (found.moments[0].mean != found.moments[1].mean).all()


def test_dead_layers_and_units_before_a_batch_norm_or_at_a_residual_stream(rng):
    """A tap before a BatchNorm is read before it; residual sums and concatenations are read where they are made."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    linear = layers.Dense(5, name="tap_before")(inputs)
    normed = layers.BatchNormalization(name="norm")(linear)
    dead = layers.ReLU(name="tap_dead")(layers.Dense(3, bias_initializer="zeros", kernel_initializer="zeros")(normed))
    summed = layers.Add(name="tap_stream")([linear, normed])
    joined = layers.Concatenate(name="tap_joined")([summed, dead])
    model = keras.Model(inputs, layers.Dense(1)(joined))
    model.get_layer("norm").set_weights([rng.uniform(0.5, 2, size=5) for _ in range(4)])
    data = rng.normal(size=(200, 4)).astype("float32")
    kernel, bias = model.get_layer("tap_before").get_weights()
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    before = data.astype("float64") @ kernel + bias
    stream = before + gamma * (before - mean) / np.sqrt(variance + model.get_layer("norm").epsilon) + beta
    found = measures.unit_statistics(model, data)
    rows = {"before": before, "dead": np.zeros((200, 3)), "stream": stream}
    rows["joined"] = np.hstack([stream, rows["dead"]])
    for tap, expected in rows.items():
        units = found.taps[tap]
        np.testing.assert_allclose(units.mean[0], expected.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(units.std[0], expected.std(axis=0, ddof=1), rtol=1e-4, atol=1e-5)
        assert units.num_similar[0].tolist() == similar(expected).tolist()
    redundant = {tap: row["redundant_units"] for tap, row in found.redundancy().rows.items()}
    assert redundant["dead"] == 3
    assert redundant["joined"] == redundant["stream"] + 3
    assert {tap: row["dead"] for tap, row in found.unit_types().rows.items()} == {
        "before": 0, "dead": 3, "stream": 0, "joined": 3,
    }  # fmt: skip
    # Four inputs reach five linear units.
    assert {tap: row["rank"] for tap, row in found.unit_types().rows.items()} == {
        "before": 4, "dead": 0, "stream": 4, "joined": 4,
    }  # fmt: skip


def test_an_unknown_precision_is_refused(rng):
    with pytest.raises(ValueError, match="precision: expected one of float32, float64, received 'half'"):
        measures.unit_statistics(identity(4), rng.normal(size=(10, 4)).astype("float32"), precision="half")
