"""Networks drawn at random: what removal promises holds for each of them."""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from masked_models import CLOSE, assert_same_function, difference, saved_and_loaded
from sample_networks import call, inputs_of, randomize

from tfunits.layers import LocalResponseNormalization
from tfunits.surgery import Call, Graph, coupled_units, removal_error, remove_units, unit_layers
from tfunits.surgery.choice import check_left, find_units
from tfunits.surgery.units import UnitMap

SEARCH = settings(
    deadline=None, derandomize=True, max_examples=15, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
WIDTHS = (2, 4, 6)


class Network:
    """Blocks on feature maps, and then on vectors; every tensor made so far can be read again."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def pick(self, *choices):
        return choices[self.generator.integers(len(choices))]

    def conv(self, tensor, width: int, **options):
        options = {"padding": "same", "activation": self.pick("linear", "relu", "tanh"), **options}
        return layers.Conv2D(width, self.pick(1, 3), **options)(tensor)

    def block(self, maps: list):
        tensor = self.pick(*maps)
        width = tensor.shape[-1]
        kind = self.pick(
            "conv", "residual", "residual", "joined", "norm", "norm", "norm", "depthwise", "grouped", "gate", "shared",
            "nested", "operations", "pieces", "sum",
        )  # fmt: skip
        if kind == "conv":
            return self.conv(tensor, self.pick(*WIDTHS), strides=1)
        if kind == "residual":
            return layers.Add()([tensor, self.conv(self.conv(tensor, self.pick(*WIDTHS)), width)])
        if kind == "joined":
            return layers.Concatenate()([tensor, self.conv(tensor, self.pick(*WIDTHS)), self.pick(*maps)])
        if kind == "norm":
            norm = self.pick(
                layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization,
                lambda: LocalResponseNormalization(2, 1.0, 0.3, 0.75), lambda: layers.GroupNormalization(2),
            )  # fmt: skip
            return norm()(tensor)
        if kind == "depthwise":
            return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=self.pick(1, 2))(tensor)
        if kind == "grouped":
            return layers.Conv2D(4, 1, groups=2)(tensor)
        if kind == "gate":
            squeezed = layers.Dense(3, "relu")(layers.GlobalAveragePooling2D()(tensor))
            gate = layers.Dense(width, "sigmoid")(squeezed)
            return layers.Multiply()([tensor, layers.Reshape((1, 1, width))(gate)])
        if kind == "shared":
            layer = layers.Conv2D(width, 3, padding="same", activation="tanh")
            return layer(layer(tensor)) if self.pick(True, False) else layers.Concatenate()([layer(tensor), tensor])
        if kind == "nested":
            inner = keras.Input(tensor.shape[1:])
            hidden = layers.Conv2D(3, 1, activation="relu")(inner)
            out = layers.Add()([layers.BatchNormalization()(layers.Conv2D(width, 1)(hidden)), inner])
            return keras.Model(inner, out)(tensor)
        if kind == "operations":
            return ops.maximum(2.0 * tensor - 0.3, ops.abs(tensor) ** 0.5)
        if kind == "pieces":
            first, second = ops.split(tensor, [width // 2], axis=-1)
            return ops.concatenate([second, tensor[..., : width // 2], ops.tanh(first)], axis=-1)
        others = [other for other in maps if other.shape[-1] == width]
        return self.pick(layers.Add, layers.Average, layers.Maximum)()([tensor, self.pick(*others)])

    def build(self) -> keras.Model:
        image = keras.Input((4, 4, 2), name="image")
        maps = [self.conv(image, 4)]
        for _ in range(self.pick(3, 4, 5, 6)):
            # Odd numbers of units come from concatenations, and do not fit two groups.
            maps.append(self.block([tensor for tensor in maps if tensor.shape[-1] % 2 == 0]))
        last = maps[-1]
        if self.pick(True, False):
            last = layers.MaxPooling2D(2)(last)
        flat = layers.Flatten()(last) if self.pick(True, False) else ops.mean(last, axis=(1, 2))
        hidden = layers.Dense(5, "tanh", name="hidden")(flat)
        outputs = [layers.Dense(3, name="scores")(hidden)]
        if self.pick(True, False):
            outputs.append(layers.Dense(1, name="value")(layers.GlobalAveragePooling2D()(maps[0])))
        return randomize(keras.Model(image, outputs, name="drawn"))


@dataclasses.dataclass
class Case:
    """A network, and units of one to three of its layers that can be removed together."""

    model: keras.Model
    gone: dict[str, list[int]]


@st.composite
def cases(draw) -> Case:
    # Choices out of one seed: drawn one by one, most of them would be the first.
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    model = Network(generator).build()
    units = UnitMap(Graph(model))
    ids = {name: find_units(units, name) for name in unit_layers(model)}
    free = [name for name, numbers in ids.items() if len(numbers) > 1 and numbers[0] not in units.fixed]
    gone, removed = {}, np.zeros(units.num_units, bool)
    for name in generator.permutation(free)[:3].tolist():
        index = int(generator.integers(len(ids[name])))
        more = removed.copy()
        more[ids[name][index]] = True
        # A group may hold all units of a layer; then it has to stay.
        with contextlib.suppress(ValueError):
            check_left(units, more)
            gone, removed = {**gone, name: [index]}, more
    return Case(model, gone)


def members(model: keras.Model, gone: dict[str, list[int]]) -> dict[str, list[int]]:
    """All units that go, by layer."""
    found: dict[str, set[int]] = {}
    for name, indices in gone.items():
        units = coupled_units(model, name)
        for other, positions in (item for index in indices for item in units[index].members.items()):
            found.setdefault(other, set()).update(positions)
    return {name: sorted(indices) for name, indices in found.items()}


NORMS = (
    layers.LayerNormalization, layers.RMSNormalization, layers.GroupNormalization, LocalResponseNormalization,
)  # fmt: skip


def mixes(made: Call) -> bool:
    """Whether a layer makes units out of all that it reads."""
    return isinstance(made.operation, layers.Dense | layers.Conv2D)


def fed_by(model: keras.Model, gone: dict[str, list[int]]) -> dict:
    """Channels of what each layer reads that change when the units that go do: made -> bool [channels].

    Found by trying: the outputs of layers that mix are noise, and at the units that go, another noise the second time.
    """
    graph = Graph(model)
    generator = np.random.default_rng(11)
    changed: dict = {}
    for _ in range(3):
        noise = {
            made: generator.normal(size=(2, *graph.shape(made.outputs[0])[1:])) for made in graph.calls if mixes(made)
        }
        seen = []
        for repeat in range(2):
            values = {key: keras.ops.ones((2, *graph.shape(key)[1:])) for key in graph.inputs}
            for made in graph.calls:
                if mixes(made):
                    drawn = noise[made].copy()
                    if repeat:
                        units = gone.get(made.name, [])
                        drawn[..., units] = generator.normal(size=drawn[..., units].shape)
                    values[made.outputs[0]] = keras.ops.cast(drawn, "float32")
                elif isinstance(made.operation, NORMS):
                    values[made.outputs[0]] = values[made.inputs[0]]
                else:
                    values.update(zip(made.outputs, made.run(values, inference=True), strict=True))
            seen.append(values)
        for made in graph.calls:
            before, after = (np.asarray(values[made.inputs[0]]) for values in seen)
            differs = (before != after).any(axis=tuple(range(before.ndim - 1)))
            changed[made] = changed.get(made, False) | differs
    return {made: found for made, found in changed.items() if mixes(made) or isinstance(made.operation, NORMS)}


def masked_outputs(model: keras.Model, gone: dict[str, list[int]], arrays: list) -> list[np.ndarray]:
    """The network's outputs with zeros for the units that go, wherever they are read."""
    graph = Graph(model)
    masks = {made.name: ~found for made, found in fed_by(model, gone).items()}
    values = dict(zip(graph.inputs, map(keras.ops.convert_to_tensor, arrays), strict=True))
    for made in graph.calls:
        given = values
        if made.name in masks:
            (key,) = made.inputs
            given = {**values, key: values[key] * masks[made.name].astype("float32")}
        values.update(zip(made.outputs, made.run(given, inference=True), strict=True))
    return [values[key].numpy() for key in graph.outputs]


def renamed(gone: dict[str, list[int]], before: dict[str, list[int]]) -> dict[str, list[int]]:
    """Units of a network from which others were removed before: nested models are laid open, indices move up."""
    return {
        name.rpartition("/")[2]: [index - sum(other < index for other in before.get(name, [])) for index in indices]
        for name, indices in gone.items()
    }


def test_removed_units_are_units_at_zero_wherever_they_are_read():
    visible = []

    @settings(SEARCH, max_examples=50)
    @given(cases())
    def compare(case):
        thin, arrays = remove_units(case.model, case.gone), inputs_of(case.model)
        all_gone = members(case.model, case.gone)
        expected = masked_outputs(case.model, all_gone, arrays)
        assert difference(call(thin, arrays, training=False), expected) < CLOSE
        assert removal_error(case.model, thin, case.gone, arrays) < CLOSE
        for name, count in unit_layers(case.model).items():
            layer = thin.get_layer(name.rpartition("/")[2].partition("#")[0])
            assert layer.bias.shape == (count - len(all_gone.get(name, [])),)
        visible.append(difference(call(case.model, arrays, training=False), expected) > 1e-3)

    compare()
    assert np.mean(visible) > 0.8


@SEARCH
@given(cases())
def test_removing_nothing_is_the_identity(case):
    same = remove_units(case.model, {})
    assert_same_function(same, case.model)
    assert same.count_params() == case.model.count_params()


@SEARCH
@given(cases())
def test_two_steps_are_one(case):
    once = remove_units(case.model, case.gone)
    first = dict(list(case.gone.items())[:1])
    done = members(case.model, first)
    rest = {name: [i for i in indices if i not in done.get(name, [])] for name, indices in case.gone.items()}
    once_removed = remove_units(case.model, first)
    # Groups of which one channel is left are a depthwise convolution, whose units are tied to those that it reads.
    kernels = [layer for layer in once_removed.layers if isinstance(layer, layers.Conv2D) and layer.groups > 1]
    assume(all(layer.kernel.shape[-2] > 1 for layer in kernels))
    twice = remove_units(once_removed, renamed(rest, done))
    assert_same_function(twice, once)
    assert unit_layers(twice) == unit_layers(once)


@SEARCH
@given(cases())
def test_a_smaller_network_is_saved_loaded_and_trained(tmp_path_factory, case):
    thin, arrays = remove_units(case.model, case.gone), inputs_of(case.model)
    expected = call(thin, arrays, training=False)
    again = saved_and_loaded(thin, tmp_path_factory.mktemp("thin"))
    assert difference(call(again, arrays, training=False), expected) < CLOSE
    with tf.GradientTape() as tape:
        loss = sum(ops.mean(ops.square(output)) for output in again(arrays[0], training=True))
    gradients = tape.gradient(loss, [v.value for v in again.trainable_variables])
    assert all(gradient is not None for gradient in gradients)
    optimizer = keras.optimizers.SGD(1e-3)
    optimizer.apply(gradients, again.trainable_variables)
    moved = [v.path for v, old in zip(again.variables, thin.variables, strict=True) if np.any(v.numpy() != old.numpy())]
    assert moved
    assert difference(call(thin, arrays, training=False), expected) == 0
