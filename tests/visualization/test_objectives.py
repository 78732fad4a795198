"""Values of objectives, their arithmetic, and what they refuse, against numpy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfunits.visualization import Objective, direction, diversity, layer, neuron, unit

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
SHAPES = {"maps": (None, 5, 4, 6), "units": (None, 3), "any": (None, None, None, 2), "rows": (None, 7, 6)}


@pytest.fixture
def activations(rng) -> dict[str, np.ndarray]:
    """Of three copies of one image."""
    maps = np.maximum(rng.normal(size=(3, 5, 4, 6)), 0)
    # A position at which all is silent.
    maps[:, 2, 3] = 0
    return {"maps": maps, "units": rng.normal(size=(3, 3)), "rows": rng.normal(size=(3, 7, 6))}


def evaluate_together(objectives: list[Objective], images: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Values of objectives of one form, each for its own image's activations."""
    assert len({objective.form for objective in objectives}) == 1
    stacked = {name: tf.constant(np.stack([image[name] for image in images]), tf.float32) for name in images[0]}
    columns = zip(*(objective.parameters for objective in objectives), strict=True)
    return objectives[0].evaluate(stacked.__getitem__, iter([tf.constant(np.stack(c)) for c in columns])).numpy()


def value_of(objective: Objective, activations: dict[str, np.ndarray]) -> float:
    (value,) = evaluate_together([objective], [activations])
    return value


def likeness(activations: np.ndarray) -> float:
    """Summed cosines of the copies' Gram matrices, a copy."""
    grams = []
    for copy in activations:
        positions = copy.reshape(-1, copy.shape[-1])
        gram = sum(np.outer(position, position) for position in positions)
        grams.append(gram.ravel() / np.linalg.norm(gram))
    pairs = [(i, j) for i in range(len(grams)) for j in range(len(grams)) if i != j]
    return sum(grams[i] @ grams[j] for i, j in pairs) / len(grams)


def mean_product(activations: np.ndarray, vector: np.ndarray, power: float) -> float:
    products = []
    for position in activations.reshape(-1, activations.shape[-1]):
        product = position @ vector
        cosine = product / (np.linalg.norm(position) + 1e-4) / (np.linalg.norm(vector) + 1e-4)
        products.append(product * max(0.1, cosine) ** power)
    return np.mean(products)


class TestValues:
    @pytest.mark.parametrize("name", ["maps", "units", "rows"])
    def test_a_unit_is_averaged_over_positions_and_copies(self, name, activations):
        received = [value_of(unit(name, number), activations) for number in range(3)]
        np.testing.assert_allclose(received, [activations[name][..., number].mean() for number in range(3)], **CLOSE)
        assert len({round(float(value), 3) for value in received}) == 3

    def test_a_neuron_is_one_position(self, activations):
        for row, column in [(0, 0), (4, 3), (1, 2), (3, 0)]:
            received = value_of(neuron("maps", 5, row, column), activations)
            np.testing.assert_allclose(received, activations["maps"][:, row, column, 5].mean(), **CLOSE)

    def test_the_middle_is_the_lower_right_of_the_middle_four(self, activations):
        maps = activations["maps"]
        np.testing.assert_allclose(value_of(neuron("maps", 1), activations), maps[:, 2, 2, 1].mean(), **CLOSE)
        np.testing.assert_allclose(value_of(neuron("maps", 1, row=0), activations), maps[:, 0, 2, 1].mean(), **CLOSE)
        np.testing.assert_allclose(value_of(neuron("maps", 1, column=1), activations), maps[:, 2, 1, 1].mean(), **CLOSE)
        even = {"maps": maps[:, :4]}
        np.testing.assert_allclose(value_of(neuron("maps", 1), even), maps[:, 2, 2, 1].mean(), **CLOSE)
        assert abs(maps[:, 2, 2, 1].mean() - maps[:, 1, 1, 1].mean()) > 0.01

    def test_a_neuron_without_a_map_is_the_unit(self, activations):
        np.testing.assert_allclose(
            value_of(neuron("units", 2), activations), activations["units"][:, 2].mean(), **CLOSE
        )

    def test_on_a_smaller_map_the_last_row_and_column_stand_for_those_behind(self, activations):
        """Random scales shrink maps below the places that the network's own map has."""
        maps = activations["maps"]
        for row, column, read in [(9, 1, (4, 1)), (1, 9, (1, 3)), (9, 9, (4, 3)), (5, 4, (4, 3))]:
            received = value_of(neuron("maps", 0, row, column), activations)
            np.testing.assert_allclose(received, maps[(slice(None), *read, 0)].mean(), **CLOSE)

    @pytest.mark.parametrize("name", ["maps", "units", "rows"])
    @pytest.mark.parametrize("power", [0, 0.5, 1, 2])
    def test_a_direction(self, name, power, activations, rng):
        vector = rng.normal(size=activations[name].shape[-1]).astype("float32")
        received = value_of(direction(name, vector, cosine_power=power), activations)
        np.testing.assert_allclose(received, mean_product(activations[name], vector.astype("float64"), power), **CLOSE)
        other = mean_product(activations[name], vector.astype("float64"), power + 0.5)
        assert abs(received - other) > 1e-3

    def test_a_direction_along_one_unit_is_the_unit(self, activations):
        axis = [0, 0, 1, 0, 0, 0]
        np.testing.assert_allclose(
            value_of(direction("maps", axis), activations), value_of(unit("maps", 2), activations), **CLOSE
        )

    @pytest.mark.parametrize("name", ["maps", "units"])
    def test_a_layer_is_its_mean_square(self, name, activations):
        np.testing.assert_allclose(value_of(layer(name), activations), np.mean(activations[name] ** 2), **CLOSE)

    @pytest.mark.parametrize("name", ["maps", "units", "rows"])
    def test_diversity_is_minus_the_likeness(self, name, activations):
        np.testing.assert_allclose(value_of(diversity(name), activations), -likeness(activations[name]), **CLOSE)

    def test_diversity_is_highest_without_another_copy_and_lowest_of_equal_ones(self, activations):
        maps = activations["maps"]
        assert value_of(diversity("maps"), {"maps": maps[:1]}) == 0
        equal = np.repeat(maps[:1], 4, axis=0)
        # Every one of four has three others, of cosine 1.
        np.testing.assert_allclose(value_of(diversity("maps"), {"maps": equal}), -3, rtol=1e-5)
        apart = np.zeros((2, 2, 1, 2))
        apart[[0, 1], :, :, [0, 1]] = 1
        assert value_of(diversity("maps"), {"maps": apart}) == 0
        # Where things are does not count.
        turned = maps[:, ::-1, ::-1]
        np.testing.assert_allclose(value_of(diversity("maps"), {"maps": turned}), -likeness(maps), **CLOSE)

    def test_silent_copies_have_finite_gradients(self):
        maps = tf.zeros([1, 2, 3, 3, 4])
        vector = np.ones(4)
        objective = diversity("maps") + direction("maps", vector, cosine_power=2) + layer("maps") + unit("maps", 1)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            parameters = iter([tf.constant(number[None]) for number in objective.parameters])
            value = objective.evaluate({"maps": maps}.__getitem__, parameters)
        assert np.isfinite(tape.gradient(value, maps)).all()
        np.testing.assert_array_equal(value, [0])


class TestArithmetic:
    PARTS = {"a": unit("maps", 1), "b": unit("units", 2), "c": layer("rows")}
    CASES = {
        "a + 0.5 b - c / 2 + 3": (lambda a, b, c: a + 0.5 * b - c / 2 + 3),
        "3 - a": lambda a, b, c: 3 - a,
        "1.5 + a": lambda a, b, c: 1.5 + a,
        "a - 0.25": lambda a, b, c: a - 0.25,
        "-a": lambda a, b, c: -a,
        "a b": lambda a, b, c: a * b,
        "a b c": lambda a, b, c: a * b * c,
        "(a - b) (c + 1)": lambda a, b, c: (a - b) * (c + 1),
        "-2 (a + b) / 4": lambda a, b, c: -2 * (a + b) / 4,
        "numpy's numbers": lambda a, b, c: np.float32(0.5) * a + b * np.float64(2) - np.int64(3),
        "the sum of a list": lambda a, b, c: sum([a, b, c, b]),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_objectives_add_and_multiply_as_their_values(self, case, activations):
        values = {"a": activations["maps"][..., 1].mean(), "b": activations["units"][:, 2].mean()}
        values["c"] = np.mean(activations["rows"] ** 2)
        composed = self.CASES[case](**self.PARTS)
        assert isinstance(composed, Objective)
        np.testing.assert_allclose(value_of(composed, activations), self.CASES[case](**values), **CLOSE)

    def test_the_layers_that_are_read_come_once_and_in_order(self):
        a, b, c = self.PARTS.values()
        assert (c + a * b - 2 * a + 1).layers == ("rows", "maps", "units")
        assert (a * a).layers == ("maps",)

    @pytest.mark.parametrize(
        "compose",
        [lambda a: a + "x", lambda a: "x" + a, lambda a: a * "x", lambda a: a / a, lambda a: 1 / a, lambda a: a - None],
    )
    def test_objectives_and_other_things_do_not_mix(self, compose):
        with pytest.raises(TypeError):
            compose(self.PARTS["a"])

    def test_objectives_are_values(self):
        assert unit("maps", 1) + 2 * unit("units", 0) == unit("maps", 1) + 2 * unit("units", 0)
        assert unit("maps", 1) != unit("maps", 2)
        assert len({neuron("maps", 1), neuron("maps", 1), neuron("maps", 1, 0)}) == 2


class TestForms:
    """Objectives of one form differ in their numbers alone, and are evaluated together."""

    SAME = {
        "units": [unit("maps", 0), unit("maps", 5), unit("maps", 2)],
        "neurons": [neuron("maps", 0, 1, 2), neuron("maps", 3, 4, 0), neuron("maps", 0, 0, 0)],
        "middles": [neuron("maps", 0), neuron("maps", 3), neuron("maps", 5)],
        "units without maps": [neuron("units", 0), neuron("units", 2), neuron("units", 1)],
        "directions": [direction("maps", row) for row in np.eye(6)[:3] + 0.1],
        "cosines": [direction("maps", np.arange(6) - 2, cosine_power=power) for power in (0.5, 1, 2)],
        "layers": [layer("maps"), layer("maps"), layer("maps")],
        "diversities": [diversity("maps"), diversity("maps"), diversity("maps")],
        "sums": [unit("maps", n) + (n - 2) * unit("units", 2 - n) - n for n in range(3)],
        "products": [unit("maps", n) * (1 - neuron("units", n)) for n in range(3)],
    }  # fmt: skip

    @pytest.mark.parametrize("name", SAME)
    def test_together_as_alone(self, name, rng):
        objectives = self.SAME[name]
        images = [{"maps": rng.normal(size=(2, 5, 4, 6)) + n, "units": rng.normal(size=(2, 3)) - n} for n in range(3)]
        alone = [value_of(objective, image) for objective, image in zip(objectives, images, strict=True)]
        received = evaluate_together(objectives, images)
        np.testing.assert_allclose(received, alone, **CLOSE)
        # Negative control: every objective has an image of its own.
        assert np.abs(evaluate_together(objectives, images[::-1]) - alone).max() > 0.01

    def test_what_differs_in_more_than_numbers_has_another_form(self):
        different = [
            unit("maps", 1), unit("units", 1), layer("maps"), diversity("maps"), neuron("maps", 1),
            neuron("maps", 1, 0), neuron("maps", 1, 0, 0), neuron("maps", 1, None, 0), direction("maps", np.ones(6)),
            direction("maps", np.ones(6), cosine_power=1), unit("maps", 1) + 1, unit("maps", 1) + unit("maps", 1),
            unit("maps", 1) * unit("maps", 1), -unit("maps", 1), unit("maps", 1) + unit("units", 1),
            unit("units", 1) + unit("maps", 1),
        ]  # fmt: skip
        assert len({objective.form for objective in different}) == len(different)
        assert (-unit("maps", 1)).form == (2 * unit("maps", 4)).form


class TestRefused:
    @pytest.mark.parametrize(
        ("objective", "message"),
        [
            (unit("maps", 6), "unit: expected 0 to 5 in 'maps', received 6"),
            (unit("maps", -1), "unit: expected 0 to 5 in 'maps', received -1"),
            (neuron("units", 3), "unit: expected 0 to 2 in 'units', received 3"),
            (neuron("maps", 0, row=5), "row: expected 0 to 4 in 'maps', received 5"),
            (neuron("maps", 0, 0, -1), "column: expected 0 to 3 in 'maps', received -1"),
            (neuron("any", 0, -1), "row: expected .*, received -1"),
            (neuron("units", 0, 0), "row: expected none, since 'units' has no map, received 0"),
            (neuron("rows", 0), "layer: expected units or maps of units, received 'rows' of shape"),
            (direction("maps", [1.0, 2.0]), "vector: expected 6 numbers, one a unit of 'maps', received 2"),
            (1 + 2 * unit("maps", 6), "unit: expected 0 to 5 in 'maps', received 6"),
            (layer("maps") * unit("units", 9), "unit: expected 0 to 2 in 'units', received 9"),
        ],
    )
    def test_numbers_that_do_not_fit_the_layers(self, objective, message):
        with pytest.raises(ValueError, match=message):
            objective.check(SHAPES)

    @pytest.mark.parametrize(
        "objective",
        [
            unit("maps", 5), unit("rows", 5), neuron("maps", 0, 4, 3), neuron("any", 1, 100, 100), neuron("units", 2),
            direction("maps", np.ones(6)), layer("rows"), diversity("maps"), unit("maps", 0) * 2 + layer("units") - 1,
        ],
        ids=str,
    )  # fmt: skip
    def test_numbers_that_fit_are_taken(self, objective):
        objective.check(SHAPES)
        assert set(objective.layers) <= set(SHAPES)

    @pytest.mark.parametrize("number", [1.0, "1", None, True])
    def test_units_and_places_are_whole_numbers(self, number):
        with pytest.raises(TypeError, match="unit: expected a whole number, received"):
            unit("maps", number)
        with pytest.raises(TypeError, match="unit: expected a whole number, received"):
            neuron("maps", number)
        if number is not None:
            with pytest.raises(TypeError, match="column: expected a whole number, received"):
                neuron("maps", 1, column=number)

    def test_numpys_whole_numbers_are_taken(self):
        assert unit("maps", np.int64(3)) == unit("maps", 3)
        assert neuron("maps", np.int32(3), row=np.uint8(1)) == neuron("maps", 3, 1)

    @pytest.mark.parametrize("vector", [[], [[1.0, 2.0]], [1.0, float("nan")], [float("inf")], 3.0])
    def test_directions_are_finite_vectors(self, vector):
        with pytest.raises(ValueError, match="vector: expected a vector of finite numbers, received an array of shape"):
            direction("maps", vector)

    @pytest.mark.parametrize("power", [-1, float("nan")])
    def test_powers_are_not_negative(self, power):
        with pytest.raises(ValueError, match="cosine_power: expected a number of at least 0, received"):
            direction("maps", [1.0], cosine_power=power)
