"""Thin networks agree with the given one as often as they say, and have lost what could go."""

import json

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras import layers
from made_data import make_dataset

from tfunits import measures
from tfunits.datasets import Dataset
from tfunits.layers import LocalResponseNormalization
from tfunits.surgery import keep_units, remove_units, unit_layers, widen
from tfunits.thinning import Thinned, count_flops, network, thin
from tfunits.thinning.thin import _count_layers

UNITS, FEATURES, CLASSES = 8, 5, 3


def clouds(shape: tuple[int, ...], examples: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds, one a class."""
    generator = np.random.default_rng(4)
    labels = generator.integers(CLASSES, size=examples)
    centres = generator.normal(size=(CLASSES, *shape))
    return (centres[labels] + spread * generator.normal(size=(examples, *shape))).astype("float32"), labels


def fit_head(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> keras.Model:
    """A network of random units whose last layer is fitted by least squares to the classes."""
    generator = np.random.default_rng(3)
    for variable in model.variables:
        noise = generator.normal(size=variable.shape) / np.sqrt(max(1, np.prod(variable.shape[:-1])))
        variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else noise)
    last = model.layers[-1]
    rows = keras.Model(model.input, last.input)(inputs).numpy()
    rows = np.hstack([rows, np.ones((len(rows), 1))])
    found = np.linalg.lstsq(rows, 4 * np.eye(CLASSES)[labels], rcond=None)[0]
    last.set_weights([found[:-1], found[-1]])
    return model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(*clouds((FEATURES,), 1200), CLASSES)


@pytest.fixture(scope="module")
def classifier(data) -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(UNITS, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="scores")(hidden), name="classifier")
    return fit_head(model, data.splits["train"].inputs, data.splits["train"].labels)


@pytest.fixture(scope="module")
def image_data() -> Dataset:
    return make_dataset(*clouds((6, 6, 2), 480, spread=0.7), CLASSES)


@pytest.fixture(scope="module")
def convolutional(image_data) -> keras.Model:
    """A residual stream, normalisations, a shared reader of padded maps, a flattened map."""
    inputs = keras.Input((6, 6, 2))
    stem = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    inside = layers.ReLU()(layers.BatchNormalization(name="norm")(stem))
    inside = layers.Conv2D(8, 3, padding="same", activation="relu", name="inside")(inside)
    inside = LocalResponseNormalization(name="damped")(inside)
    stream = layers.Add(name="sum")([stem, layers.Conv2D(6, 3, padding="same", name="out")(inside)])
    pooled = layers.MaxPooling2D(2)(layers.ReLU()(stream))
    hidden = layers.Dense(10, "tanh", name="hidden")(layers.Flatten()(pooled))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="scores")(hidden))
    return fit_head(model, image_data.splits["train"].inputs, image_data.splits["train"].labels)


@pytest.fixture(scope="module")
def thinned(classifier, data) -> Thinned:
    """A network of three times the units it needs."""
    return thin(widen(classifier, "split", factor=3), data)


def classes(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return model(inputs).numpy().argmax(axis=1)


def agreement(first: keras.Model, second: keras.Model, data: Dataset, split: str = "test") -> float:
    inputs = data.splits[split].inputs
    return float((classes(first, inputs) == classes(second, inputs)).mean())


def variables_of(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables]


# What goes.


@pytest.mark.parametrize("how", ["split", "balanced", "blocked_copy", "blocked_new", "silent"])
def test_units_that_a_widening_added_are_found(how, classifier, data):
    """All of them, and the classes of the network before stay."""
    wide = widen(classifier, how, factor=3, offset=0.3)
    found = thin(wide, data)
    assert found.layers["hidden"]["units"] == 3 * UNITS
    # Of offsets that cancel a fit that is held back leaves something.
    assert found.layers["hidden"]["left"] <= UNITS + 2 * (how == "balanced")
    assert found.numbers["agreement"] == 1
    assert agreement(found.model, classifier, data) == found.numbers["agreement"]
    assert found.model.count_params() <= classifier.count_params() + 2 * (FEATURES + 1 + CLASSES)


@pytest.mark.parametrize("how", ["silent", "blocked_copy", "blocked_new"])
def test_no_class_changes_where_nothing_reads_what_goes(how, classifier, data):
    wide = widen(classifier, how, factor=4)
    found = thin(wide, data, agreement=1.0)
    row = found.layers["hidden"]
    assert row["left"] <= UNITS
    if how == "silent":
        assert row["constant"] == 3 * UNITS
    if how == "blocked_copy":
        assert row["redundant"] >= 3 * UNITS
    assert found.numbers["agreement"] == 1
    assert all(agreement(found.model, wide, data, split) == 1 for split in ("train", "validation"))


def test_random_units_of_the_same_number_do_worse(thinned, classifier, data, rng):
    """Negative control: as many units at random, and the same units without folding."""
    wide = widen(classifier, "split", factor=3)
    left = thinned.layers["hidden"]["left"]
    found = [
        agreement(wide, keep_units(wide, {"hidden": rng.choice(3 * UNITS, left, replace=False)}), data)
        for _ in range(5)
    ]
    assert np.mean(found) < thinned.numbers["agreement"] - 0.1


def test_less_agreement_leaves_fewer_units(classifier, data):
    wide = widen(classifier, "split")
    counts = [thin(wide, data, agreement=share).layers["hidden"]["left"] for share in (0.99, 0.7)]
    assert counts[1] < counts[0] <= UNITS


def test_every_group_of_a_network_of_images(convolutional, image_data):
    """Tied units go together; what reads them is fitted again; at least one of each stays."""
    wide = widen(convolutional, "split")
    before = variables_of(wide)
    found = thin(wide, image_data, agreement=0.95, max_trials=25)
    counts = unit_layers(found.model)
    assert counts["stem"] == counts["out"] <= 8
    assert counts["inside"] <= 12
    assert counts["hidden"] <= 12
    assert all(counts[name] == found.layers[name]["left"] > 0 for name in counts)
    assert found.numbers["agreement"] > 0.9
    assert agreement(wide, found.model, image_data) == found.numbers["agreement"]
    for value, variable in zip(before, wide.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_units_that_must_stay_are_listed(data):
    """Beside a layer that can be thinned, one that the output is made of, and one behind layer normalisation."""
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(UNITS, "relu", name="hidden")(inputs)
    normalized = layers.LayerNormalization(name="normalized")(layers.Dense(4, name="before")(hidden))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="scores")(normalized))
    model = fit_head(model, data.splits["train"].inputs, data.splits["train"].labels)
    found = thin(model, data, agreement=0.8, max_trials=10)
    assert set(found.stays) == {"before", "scores"}
    assert "'normalized' reads it" in found.stays["before"]
    assert found.stays["scores"] == "it is the model's output"
    assert found.layers["before"] == {"units": 4, "left": 4, "constant": 0, "silent": 0, "redundant": 0, "prunable": 0}
    assert found.layers["hidden"]["left"] < UNITS


# What is reported.


def test_agreement_is_what_both_networks_outputs_give(thinned, classifier, data):
    wide = widen(classifier, "split", factor=3)
    inputs, labels = data.splits["test"].inputs, data.splits["test"].labels
    before, after = classes(wide, inputs), classes(thinned.model, inputs)
    numbers = thinned.numbers
    assert numbers["agreement"] == (before == after).mean()
    assert numbers["examples"] == len(inputs) == 150
    assert numbers["accuracy_before"] == (before == labels).mean()
    assert numbers["accuracy"] == (after == labels).mean()
    assert numbers["accuracy"] > 0.7


@pytest.mark.parametrize("share", [0.99, 0.6])
def test_the_interval_is_that_of_clopper_and_pearson(share, classifier, data):
    """From the quantiles of the beta distribution."""
    numbers = thin(classifier, data, agreement=share).numbers
    count, same = numbers["examples"], round(numbers["agreement"] * numbers["examples"])
    low = scipy.stats.beta.ppf(0.025, same, count - same + 1)
    high = scipy.stats.beta.ppf(0.975, same + 1, count - same) if same < count else 1.0
    assert numbers["agreement_interval"] == pytest.approx([low, high])
    assert low < numbers["agreement"]


def test_costs_are_those_of_both_networks(thinned, classifier):
    wide, left = widen(classifier, "split", factor=3), thinned.layers["hidden"]["left"]
    numbers = thinned.numbers
    assert numbers["parameters_before"] == wide.count_params() == 24 * (5 + 1) + 3 * (24 + 1)
    assert numbers["parameters"] == thinned.model.count_params() == left * (5 + 1) + 3 * (left + 1)
    assert numbers["flops_before"] == count_flops(wide) == 2 * 24 * (5 + 3)
    assert numbers["flops"] == count_flops(thinned.model) == 2 * left * (5 + 3)
    assert 0 < numbers["seconds"] < 10
    assert 0 < numbers["seconds_before"] < 10


def test_the_table_of_layers_adds_up(thinned):
    assert list(thinned.layers) == ["hidden", "scores"]
    for name, row in thinned.layers.items():
        assert row["units"] == sum(count for name_of, count in row.items() if name_of != "units")
        assert row["left"] == unit_layers(thinned.model)[name]
    assert thinned.layers["hidden"]["redundant"] >= 2 * UNITS
    frame = thinned.to_frame()
    assert list(frame.columns) == ["units", "left", "constant", "silent", "redundant", "prunable"]
    assert frame.loc["scores"].tolist() == [3, 3, 0, 0, 0, 0]
    assert frame.index.name == "layer"


def test_the_report_is_plain_and_readable(thinned):
    plain = thinned.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {"settings", "numbers", "layers", "stays"}
    shown = str(thinned)
    assert f"agreement {thinned.numbers['agreement']:.4f}" in shown
    assert f"parameters 219 -> {thinned.numbers['parameters']}" in shown
    assert "hidden" in shown
    assert "accuracy" in shown
    assert plain["settings"]["agreement"] == 0.99
    assert plain["settings"]["seed"] == 0


def test_why_units_went(data):
    """Constant and silent units, linear functions of others, and those that little depends on."""
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(9, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="scores")(hidden))
    model = fit_head(model, data.splits["train"].inputs, data.splits["train"].labels)
    kernel, bias, top, last = model.get_weights()
    kernel[:, [1, 2]], bias[1], bias[2] = 0, -1, 3
    kernel[:, 4], bias[4] = 2 * kernel[:, 0], 2 * bias[0]
    top[5] = 0
    model.set_weights([kernel, bias, top, last])
    found = thin(model, data, agreement=1.0)
    row = found.layers["hidden"]
    assert row["constant"] == 2
    assert row["redundant"] >= 1
    assert row["left"] <= 5
    assert found.numbers["agreement"] >= 0.98


# Data.


def test_forms_of_data():
    """Arrays, pairs and batches of the same examples give the same network; without labels there is no accuracy."""
    inputs, labels = clouds((FEATURES,), 400)
    given = keras.Input((FEATURES,))
    hidden = layers.Dense(12, "relu", name="hidden")(given)
    model = fit_head(keras.Model(given, layers.Dense(CLASSES, name="scores")(hidden)), inputs, labels)
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels))
    forms = {
        "array": inputs,
        "pair": (inputs, labels),
        "batches": batches.batch(37),
        "inputs alone": batches.map(lambda x, y: x).batch(128),
    }
    found = {name: thin(model, form, max_trials=12) for name, form in forms.items()}
    for name, one in found.items():
        assert one.numbers["examples"] == 100
        assert ("accuracy" in one.numbers) == (name in ("pair", "batches"))
        assert one.layers == found["array"].layers
        for value, expected in zip(variables_of(one.model), variables_of(found["array"].model), strict=True):
            np.testing.assert_array_equal(value, expected)
    assert found["pair"].numbers["accuracy"] == found["batches"].numbers["accuracy"] > 0.7


def test_the_division_of_data_follows_the_seed():
    """Half for the fit, a quarter for the search, a quarter held out, drawn from the seed."""
    inputs, _ = clouds((FEATURES,), 403)
    labels = np.random.default_rng(0).integers(CLASSES, size=403)
    given = keras.Input((FEATURES,))
    hidden = layers.Dense(6, "relu", name="hidden")(given)
    model = fit_head(keras.Model(given, layers.Dense(CLASSES, name="scores")(hidden)), inputs, labels)
    found = [thin(model, (inputs, labels), seed=seed, max_trials=2).numbers for seed in (0, 0, 1, 2)]
    assert {numbers["examples"] for numbers in found} == {101}
    accuracies = [numbers["accuracy_before"] for numbers in found]
    assert accuracies[0] == accuracies[1]
    assert len(set(accuracies)) > 1
    order = np.random.default_rng(1).permutation(403)[302:]
    assert accuracies[2] == (classes(model, inputs[order]) == labels[order]).mean()


def test_splits_are_chosen_by_name(classifier, data):
    """What is held out is not looked at: another held-out split measures the same network."""
    first = thin(classifier, data, agreement=0.9, max_trials=8)
    second = thin(classifier, data, agreement=0.9, max_trials=8, held_out_split="train")
    for value, expected in zip(variables_of(first.model), variables_of(second.model), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert second.numbers["examples"] == 900
    assert second.numbers["agreement"] == agreement(classifier, first.model, data, "train")
    other = thin(classifier, data, agreement=0.9, max_trials=8, fit_split="validation", search_split="train")
    assert any(
        a.shape != b.shape or (a != b).any()
        for a, b in zip(variables_of(first.model), variables_of(other.model), strict=True)
    )


def test_labels_are_not_looked_at(classifier, data):
    inputs = {name: split.inputs for name, split in data.splits.items()}
    shuffled = np.random.default_rng(0).permutation(1200) % CLASSES
    other = make_dataset(np.concatenate([inputs[n] for n in ("train", "validation", "test")]), shuffled, CLASSES)
    found = [thin(classifier, given, max_trials=8) for given in (data, other)]
    for value, expected in zip(variables_of(found[0].model), variables_of(found[1].model), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert found[1].numbers["accuracy"] < 0.5 < found[0].numbers["accuracy"]


@pytest.mark.parametrize("most", [20, 300])
def test_examples_of_fit_and_search_are_limited(most, classifier, data, monkeypatch):
    sizes = []
    init = network.Network.__init__

    def counted(self: object, model: keras.Model, batches: list) -> None:
        sizes.append(sum(len(batch[0]) for batch in batches))
        init(self, model, batches)

    monkeypatch.setattr(network.Network, "__init__", counted)
    numbers = thin(classifier, data, max_examples=most, max_trials=2).numbers
    assert sizes == [most]
    assert numbers["examples"] == 150


# The search.


@pytest.mark.parametrize("trials", [1, 5])
def test_trials_are_limited(trials, classifier, data, monkeypatch):
    built = []
    build = network.Network.build
    monkeypatch.setattr(network.Network, "build", lambda *given: built.append(1) or build(*given))
    found = thin(widen(classifier, "split"), data, max_trials=trials)
    assert found.settings["trials"] == trials
    # The thin network itself is made again at the end.
    assert len(built) <= trials + 1
    assert found.numbers["agreement"] >= 0.95


def test_two_calls_give_the_same_network(thinned, classifier, data):
    again = thin(widen(classifier, "split", factor=3), data)
    for value, expected in zip(variables_of(again.model), variables_of(thinned.model), strict=True):
        np.testing.assert_array_equal(value, expected)
    same = ("agreement", "agreement_interval", "parameters", "flops", "accuracy")
    assert all(again.numbers[key] == thinned.numbers[key] for key in same)
    assert again.layers == thinned.layers


def test_the_given_model_stays_and_the_thin_one_is_one_of_its_own(classifier, data, tmp_path):
    wide = widen(classifier, "silent")
    before = variables_of(wide)
    model = thin(wide, data).model
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = data.splits["test"].inputs
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(inputs, data.splits["test"].labels, epochs=1, verbose=0)
    assert np.abs(loaded(inputs).numpy() - model(inputs).numpy()).max() > 1e-4
    for value, variable in zip(before, wide.variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert measures.prunability(model, data.splits["test"].inputs) is not None


def test_a_network_of_one_score():
    """Two classes of one output: the sign, or a probability above one half."""
    inputs, labels = clouds((FEATURES,), 800)
    labels = (labels > 0).astype(int)
    given = keras.Input((FEATURES,))
    hidden = layers.Dense(12, "relu", name="hidden")(given)
    score = layers.Dense(1, name="score")
    model = keras.Model(given, score(hidden))
    rows = keras.Model(given, hidden)(inputs).numpy()
    rows = np.hstack([rows, np.ones((800, 1))])
    weights = np.linalg.lstsq(rows, 8.0 * labels - 4, rcond=None)[0]
    score.set_weights([weights[:-1, None], weights[-1:]])
    likely = keras.Model(given, layers.Activation("sigmoid")(score(hidden)))
    found = [thin(m, (inputs, labels), agreement=0.95, max_trials=12) for m in (model, likely)]
    held_out = np.random.default_rng(0).permutation(800)[600:]
    for one, m, threshold in zip(found, (model, likely), (0, 0.5), strict=True):
        before, after = ((k(inputs[held_out]).numpy()[:, 0] > threshold).astype(int) for k in (m, one.model))
        assert one.numbers["agreement"] == (before == after).mean() > 0.9
        assert one.numbers["accuracy_before"] == (before == labels[held_out]).mean() > 0.7
    assert found[0].layers["hidden"] == found[1].layers["hidden"]
    assert found[0].layers["hidden"]["left"] < 12


# What is refused.


def test_refused_settings(classifier, data):
    for share in (0, -0.5, 1.01, float("nan")):
        with pytest.raises(ValueError, match=rf"agreement: expected a share in \(0, 1\], received {share}"):
            thin(classifier, data, agreement=share)
    with pytest.raises(ValueError, match="max_trials: expected at least 1"):
        thin(classifier, data, max_trials=0)
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, received 'absent'"):
        thin(classifier, data, search_split="absent")


def test_refused_data(classifier):
    for count in (1, 7):
        with pytest.raises(ValueError, match=f"data: expected at least 8 examples to divide, received {count}"):
            thin(classifier, np.ones((count, FEATURES), "float32"))
    thin(classifier, np.ones((8, FEATURES), "float32"), max_trials=1)
    with pytest.raises(ValueError, match=r"data: expected batches of inputs of shape \(5,\), .* received \(4,\)"):
        thin(classifier, np.ones((40, 4), "float32"))
    with pytest.raises(TypeError, match="data: expected a tfunits Dataset"):
        thin(classifier, "digits")


def test_refused_networks(data):
    inputs = keras.Input((FEATURES,))
    scores = layers.Dense(CLASSES, name="scores")
    with pytest.raises(ValueError, match="model: expected a network with units that can go, .*the model's output"):
        thin(keras.Model(inputs, scores(inputs)), data)
    hidden = layers.Dense(4)(inputs)
    with pytest.raises(ValueError, match="model: expected one output, the classes' scores, received 2 outputs"):
        thin(keras.Model(inputs, [layers.Dense(3)(hidden), layers.Dense(2)(hidden)]), data)
    with pytest.raises(ValueError, match="model: expected an output of shape"):
        thin(keras.Model(inputs, layers.Dense(3)(hidden)[:, 0]), data)
    with pytest.raises(ValueError, match="model: expected a functional Keras model"):
        thin(keras.Sequential([layers.Dense(3)]), data)


def test_thin_networks_are_smaller_than_those_of_removal_alone(thinned, classifier, data):
    """Units of a split network that go without their weights being taken over change classes."""
    wide = widen(classifier, "split", factor=3)
    removed = remove_units(wide, {"hidden": range(1, 3 * UNITS, 3)})
    assert agreement(wide, removed, data) <= thinned.numbers["agreement"]
    assert thinned.model.count_params() < removed.count_params()


def test_what_cannot_be_measured_is_refused_before_the_search(classifier, data):
    inputs = keras.Input((None, None, 2))
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    with pytest.raises(ValueError, match="expected layers of known size"):
        thin(keras.Model(inputs, layers.Dense(3)(hidden)), np.zeros((40, 5, 5, 2), "float32"))
    inputs = data.splits["train"].inputs.copy()
    inputs[3] = np.nan
    with pytest.raises(ValueError, match="data: expected finite inputs"):
        thin(classifier, inputs)


def test_a_search_that_finds_nothing_says_so(classifier, data, monkeypatch):
    monkeypatch.setattr("tfunits.thinning.search.agreement_bound", lambda *_: 0.0)
    found = thin(classifier, data, max_trials=4)
    assert found.settings["ended"] == "max_trials"
    assert "nothing could go" in str(found)
    assert found.model.count_params() == classifier.count_params()


def arrays_of(data: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    return data.splits[split].inputs, data.splits[split].labels


@pytest.mark.parametrize("form", ["halves", "sum"])
def test_every_part_of_a_layer_keeps_a_unit(form, data):
    """Where half of a layer that is read apart is silent, or one of two layers that a third is added to."""
    inputs = keras.Input((FEATURES,))
    if form == "halves":
        names = {"hidden": (slice(0, 4), UNITS)}
        parts = keras.ops.split(layers.Dense(UNITS, "relu", name="hidden")(inputs), 2, axis=-1)
        top = layers.Concatenate()([layers.Dense(4, name=n)(t) for n, t in zip(("low", "high"), parts, strict=True)])
    else:
        names = {"first": (slice(0, 4), 4), "third": (slice(0, 4), UNITS)}
        beside = layers.Concatenate()([layers.Dense(4, "relu", name=name)(inputs) for name in ("first", "second")])
        top = layers.Add()([beside, layers.Dense(UNITS, "relu", name="third")(inputs)])
    model = fit_head(keras.Model(inputs, layers.Dense(CLASSES, name="scores")(top)), *arrays_of(data, "train"))
    for name, (silent, _) in names.items():
        kernel, bias = model.get_layer(name).get_weights()
        kernel[:, silent], bias[silent] = 0, -1
        model.get_layer(name).set_weights([kernel, bias])
    found = thin(model, data, max_trials=20)
    for name, (_, count) in names.items():
        assert found.layers[name]["constant"] == 3
        assert 1 <= found.layers[name]["left"] <= count - 3


def test_reasons_are_those_of_the_units(data):
    """One that never changes, one that is active at less than 1 %, a multiple of another, and one that is missed."""
    inputs = keras.Input((FEATURES,))
    hidden = layers.Dense(UNITS + 3, "relu", name="hidden")(inputs)
    rows, labels = arrays_of(data, "train")
    model = fit_head(keras.Model(inputs, layers.Dense(CLASSES, name="scores")(hidden)), rows, labels)
    kernel, bias = model.get_layer("hidden").get_weights()
    kernel[:, 8], bias[8] = 0, 2
    bias[9] = -np.quantile(rows @ kernel[:, 9], 0.996)
    kernel[:, 10], bias[10] = 3 * kernel[:, 0], 3 * bias[0]
    model.get_layer("hidden").set_weights([kernel, bias])
    assert 0 < (rows @ kernel[:, 9] + bias[9] > 0).mean() < 0.01
    thinned = network.Network(model, [[tf.constant(rows)]])
    removed = np.zeros(thinned.units.num_units, bool)
    removed[thinned.groups["hidden"][[1, 8, 9, 10]]] = True
    found = _count_layers(thinned, removed)["hidden"]
    assert found == {"units": 11, "left": 7, "constant": 1, "silent": 1, "redundant": 1, "prunable": 1}
