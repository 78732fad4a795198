"""Every Keras operation that has a rule: removed units are units at zero where they are read."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops
from masked_models import CLOSE, assert_removed, assert_same_function, difference, masked_by_hand, saved_and_loaded
from sample_networks import around, call, inputs_of

from tfunits.surgery import Graph, coupled_units, remove_units
from tfunits.surgery.rules import _OPERATIONS

GONE = [1, 4]
VECTOR, SEQUENCE, IMAGE, VOLUME = (7,), (8, 3), (8, 6, 3), (6, 4, 4, 2)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", name).lower()


# Operations of two tensors on every number alone.
PAIRED = (
    "Add", "Subtract", "Multiply", "Divide", "DivideNoNan", "TrueDivide", "FloorDivide", "Power", "Mod", "Maximum",
    "Minimum", "Fmax", "Fmin", "Arctan2", "Hypot", "Logaddexp", "Equal", "NotEqual", "Greater", "GreaterEqual", "Less",
    "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor",
)  # fmt: skip
# Nothing of the unit is left in the result, or the same at every unit.
CONSTANT = ("ZerosLike", "Isinf", "Isnan", "LogicalNot", "LogicalXor", "Equal")
# Expressions of values in (0, 1) for operations that the name alone does not call, or not where they change a number.
SPECIAL = {
    "Cast": lambda x: ops.cast(x, "float16"), "Clip": lambda x: ops.clip(x, 0.3, 0.8),
    "SaturateCast": lambda x: ops.saturate_cast(x, "float16"), "Threshold": lambda x: ops.threshold(x, 0.5, 0.1),
    "Where": lambda x: ops.where(x > 0.5, x, 2.0 - x), "StopGradient": ops.stop_gradient,
    "Floor": lambda x: ops.floor(4 * x),
    "Ceil": lambda x: ops.ceil(4 * x), "Round": lambda x: ops.round(4 * x), "Trunc": lambda x: ops.trunc(4 * x),
    "Sign": lambda x: ops.sign(x - 0.5), "Arccosh": lambda x: ops.arccosh(x + 1.0),
    "HardShrink": lambda x: ops.hard_shrink(x, 0.5), "SoftShrink": lambda x: ops.soft_shrink(x, 0.5),
    "NanToNum": lambda x: ops.nan_to_num(x / 0.5), "Copy": ops.copy,
}  # fmt: skip
# Operations on more than every number alone.
RANKED = (
    "AveragePool", "MaxPool", "AdaptiveAveragePool", "AdaptiveMaxPool", "Resize", "Reshape", "ExpandDims", "Squeeze",
    "Ravel", "Transpose", "Swapaxes", "Moveaxis", "Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Std", "Var",
    "Softmax", "LogSoftmax", "Concatenate", "GetItem", "Split", "Pad",
)  # fmt: skip
SINGLE = sorted(set(_OPERATIONS) - set(PAIRED) - set(RANKED))


def operation_of(name: str):
    if name in SPECIAL:
        return SPECIAL[name]
    function = getattr(ops, _snake(name))
    return (lambda x: function(x, 0.5 * x * x + 0.2)) if name in PAIRED else function


def kinds_of(model: keras.Model) -> set[str]:
    return {type(made.operation).__name__ for made in Graph(model).calls}


@pytest.mark.parametrize("name", [*SINGLE, *PAIRED])
def test_operations_on_every_number_alone(name):
    function = operation_of(name)
    model = around(lambda made: ops.cast(function(made), "float32"), VECTOR)
    assert name in kinds_of(model)
    expected = masked_by_hand(model, {"between": GONE})
    thin = remove_units(model, {"made": GONE})
    assert thin.get_layer("between").output.shape == (None, 4)
    assert_same_function(thin, expected)
    if name not in CONSTANT:
        arrays = inputs_of(model)
        assert difference(call(expected, arrays), call(model, arrays)) > CLOSE


def in_channels_first(function):
    """Keras knows the shape of adaptive pooling as an operation in this format only."""
    return lambda x: ops.moveaxis(function(ops.moveaxis(x, -1, 1)), 1, -1)


# Operations that change the form or reduce: (class, expression, input shape, positions masked in the result).
FORM = {
    "average pool": ("AveragePool", lambda x: ops.average_pool(x, 2), IMAGE, GONE),
    "max pool": ("MaxPool", lambda x: ops.max_pool(x, 2), IMAGE, GONE),
    "adaptive average pool": (
        "AdaptiveAveragePool", in_channels_first(lambda x: ops.adaptive_average_pool(x, (2, 2), "channels_first")),
        IMAGE, GONE,
    ),
    "adaptive max pool": (
        "AdaptiveMaxPool", in_channels_first(lambda x: ops.adaptive_max_pool(x, (2, 2), "channels_first")),
        IMAGE, GONE,
    ),
    "resize": ("Resize", lambda x: ops.image.resize(x, (5, 5)), IMAGE, GONE),
    "reshape of positions": ("Reshape", lambda x: ops.reshape(x, (-1, 48, 6)), IMAGE, GONE),
    "reshape to a vector": (
        "Reshape", lambda x: ops.reshape(x, (-1, 48)), SEQUENCE, [6 * i + j for i in range(8) for j in GONE],
    ),
    "a new axis": ("ExpandDims", lambda x: ops.expand_dims(x, 1), SEQUENCE, GONE),
    "squeeze": ("Squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 1), 1), SEQUENCE, GONE),
    "squeeze everything": ("Squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 1)), SEQUENCE, GONE),
    "transpose of positions": ("Transpose", lambda x: ops.transpose(x, (0, 2, 1, 3)), IMAGE, GONE),
    "transpose and back": (
        "Transpose", lambda x: ops.transpose(ops.transpose(x, (0, 2, 1)), (0, 2, -2)), SEQUENCE, GONE,
    ),
    "swapaxes": ("Swapaxes", lambda x: ops.swapaxes(x, 1, -2), IMAGE, GONE),
    "moveaxis": ("Moveaxis", lambda x: ops.moveaxis(x, 1, 2), IMAGE, GONE),
    "moveaxis of several": ("Moveaxis", lambda x: ops.moveaxis(ops.moveaxis(x, [-1], [1]), [1], [-1]), IMAGE, GONE),
    **{
        f"{name.lower()} of positions": (name, lambda x, f=name.lower(): getattr(ops, f)(x, axis=1), SEQUENCE, GONE)
        for name in ("Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Std", "Var")
    },
    "mean of all positions": ("Mean", lambda x: ops.mean(x, axis=(1, 2), keepdims=True), IMAGE, GONE),
    "softmax over positions": ("Softmax", lambda x: ops.softmax(x, axis=1), SEQUENCE, GONE),
    "log-softmax over positions": ("LogSoftmax", lambda x: ops.log_softmax(x, axis=-2), SEQUENCE, GONE),
    "concatenation": ("Concatenate", lambda x: ops.concatenate([2.0 * x, x * x], axis=-1), VECTOR, [1, 4, 7, 10]),
    "concatenation of positions": ("Concatenate", lambda x: ops.concatenate([2.0 * x, x], axis=1), SEQUENCE, GONE),
    "slice of positions": ("GetItem", lambda x: x[:, 1:-1:2], SEQUENCE, GONE),
    "one position": ("GetItem", lambda x: x[:, 3], SEQUENCE, GONE),
    "slice of units": ("GetItem", lambda x: x[..., 1:5], SEQUENCE, [0, 3]),
    "slice of units from the end": ("GetItem", lambda x: x[:, :, -5:], SEQUENCE, [0, 3]),
    "slice of units behind a removed one": ("GetItem", lambda x: x[..., 3:], SEQUENCE, [1]),
    "all units": ("GetItem", lambda x: x[:, 2:, :], SEQUENCE, GONE),
    "padding of positions": (
        "Pad", lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=3.0), SEQUENCE, GONE,
    ),
    "reflected positions": ("Pad", lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0]], mode="reflect"), SEQUENCE, GONE),
}  # fmt: skip


@pytest.mark.parametrize("case", FORM)
def test_operations_that_change_the_form(case, tmp_path):
    name, function, shape, masked = FORM[case]
    model = around(function, shape)
    assert name in kinds_of(model)
    thin = assert_removed(model, {"made": GONE}, {"between": masked})
    # Keras itself cannot load a model with this operation.
    if not name.startswith("Adaptive"):
        assert_same_function(saved_and_loaded(thin, tmp_path), thin)


FUSED = {
    "max over units": lambda x: ops.max(x, axis=-1, keepdims=True),
    "mean over units": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "mean over everything": lambda x: x - ops.mean(x),
    "mean over examples": lambda x: x - ops.mean(x, axis=0),
    "softmax over units": ops.softmax,
    "softmax over everything": lambda x: ops.softmax(x, axis=None),
    "log-softmax over units": ops.log_softmax,
    "every second unit": lambda x: x[..., ::2],
    "units in reverse": lambda x: x[..., ::-1],
    "a single unit": lambda x: x[..., 2],
    "units by a list": lambda x: ops.take(x, [0, 2], axis=-1),
    "a new axis by index": lambda x: x[:, None],
    "an array": lambda x: x + np.arange(6, dtype="float32"),
    "a variable": lambda x: x * keras.Variable(np.arange(6, dtype="float32")),
    "padded units": lambda x: ops.pad(x, [[0, 0], [0, 0], [1, 2]]),
    "examples become positions": lambda x: ops.reshape(x, (-1, 6)),
    "examples become units": lambda x: ops.expand_dims(ops.ravel(x), -1),
    "examples change places": lambda x: ops.transpose(x, (1, 0, 2)),
    "a product of matrices": lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))),
    "einsum": lambda x: ops.einsum("abc,abd->acd", x, x),
    "a sort": lambda x: ops.sort(x, axis=-1),
    "a sum over time": lambda x: ops.cumsum(x, axis=-1),
    "a roll": lambda x: ops.roll(x, 1, axis=-1),
    "units in reverse by flip": lambda x: ops.flip(x, axis=-1),
    "a tile": lambda x: ops.tile(x, (1, 1, 2)),
    "a stack": lambda x: ops.stack([x, x], axis=-1),
    "a norm": lambda x: ops.normalize(x, axis=-1),
    "layer normalisation": lambda x: ops.layer_normalization(x, axis=-1),
    "halves that gate": lambda x: ops.glu(x),
    "an argmax": lambda x: ops.cast(ops.argmax(x, axis=-1), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", FUSED)
def test_operations_that_mix_units_are_refused_by_name(case):
    inputs = keras.Input(SEQUENCE)
    made = layers.Dense(6, name="made")(layers.Dense(5, "tanh", name="earlier")(inputs))
    mixed = FUSED[case](made)
    model = keras.Model(inputs, [layers.Dense(3, name="head")(made), mixed * 1.0])
    culprit = "|".join(made.name for made in Graph(model).calls if not isinstance(made.operation, layers.Layer))
    with pytest.raises(ValueError, match=f"made: expected units that can be removed.*'({culprit})'"):
        remove_units(model, {"made": [2]})
    thin = remove_units(model, {"earlier": [2]})
    assert_same_function(thin, masked_by_hand(model, {"earlier": [2]}))


def test_what_cannot_be_made_again_is_refused_by_name():
    model = around(lambda x: ops.clip(x, 0.0, np.arange(1, 7, dtype="float32")), VECTOR)
    with pytest.raises(ValueError, match="made: .* since 'clip.*' combines it with an array of constants"):
        remove_units(model, {"made": [0]})
    with pytest.raises(ValueError, match="model: expected layers that can be made again .*'clip.*' of Clip"):
        remove_units(model, {})


def test_a_sum_over_units_reads_them():
    model = around(lambda x: ops.sum(x, axis=-1, keepdims=True) * x, SEQUENCE)
    assert_removed(model, {"made": GONE}, {"made": GONE, "between": GONE})
    assert coupled_units(model, "made")[1].members == {"made": (1,)}


@pytest.mark.parametrize("sections", [2, 3, [2], [1, 5]])
def test_pieces_of_units(sections):
    def build(made):
        parts = ops.split(made, sections, axis=-1)
        return ops.concatenate([part * (2.0 + i) for i, part in enumerate(parts[::-1])], axis=-1)

    model = around(build, SEQUENCE)
    ends = np.split(np.arange(6), sections)[::-1]
    order = np.concatenate(ends).tolist()
    assert_removed(model, {"made": GONE}, {"between": [order.index(i) for i in GONE]})


def test_halves_that_are_added_are_tied():
    model = around(lambda x: sum(ops.split(x, 2, axis=-1)), VECTOR)
    thin = assert_removed(model, {"made": [1]}, {"between": [1]})
    assert thin.get_layer("made").units == 4
    assert [unit.members for unit in coupled_units(model, "made")][:3] == [{"made": (i, i + 3)} for i in range(3)]


def test_pieces_of_positions_are_tied_where_they_are_added():
    model = around(lambda x: sum(ops.split(x, 4, axis=1)), SEQUENCE)
    assert_removed(model, {"made": GONE}, {"between": GONE})


def test_a_slice_that_would_be_empty_is_refused():
    model = around(lambda x: ops.concatenate([x[..., :2], x], axis=-1), VECTOR)
    with pytest.raises(ValueError, match="get_item.*: expected at least one unit to be left, received all 2"):
        remove_units(model, {"made": [0, 1]})
    assert_removed(model, {"made": [0, 5]}, {"between": [0, 2, 7]})


def test_one_unit_that_is_left_keeps_its_axis():
    """Squeezing takes the axes that were of size 1 before, and no others."""
    model = around(lambda x: ops.squeeze(ops.expand_dims(x, 1)), SEQUENCE)
    gone = [0, 1, 2, 4, 5]
    thin = assert_removed(model, {"made": gone}, {"between": gone})
    assert thin.get_layer("between").output.shape == (None, 8, 1)


def test_every_operation_has_a_test():
    """A new rule fails here until a model above uses it."""
    assert set(_OPERATIONS) == {*SINGLE, *PAIRED, *RANKED}
    assert {name for name, *_ in FORM.values()} | {"Split"} == set(RANKED) - {"Ravel"}
