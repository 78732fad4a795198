"""One rule a layer: how it passes units on."""

import keras

from tfunits import layers as own
from tfunits.surgery.graph import Call
from tfunits.surgery.rules.base import Lambda, PerPosition, PerUnit, Rule, Unknown, WeightAxes
from tfunits.surgery.rules.form import (
    AlongAxis,
    Concatenate,
    Drop,
    GetItem,
    Mask,
    Padding,
    Pass,
    PerMap,
    Permute,
    Reduce,
    Repeat,
    Reshape,
    Scale,
    Split,
    Take,
)
from tfunits.surgery.rules.kernels import Activation, Depthwise, Embedding, Kernel, Separable
from tfunits.surgery.rules.normalization import BatchNorm, Counted, InputNormalization, ParametricReLU, UnitNorm

__all__ = ["RULES", "Kernel", "PerUnit", "Rule", "WeightAxes", "find_rule", "register"]

_CONVOLUTION = Kernel("in", "out", size="filters")
_TRANSPOSED = Kernel("out", "in", size="filters")
_PER_UNIT, _PER_MAP = PerUnit(), PerMap()

# Class of a layer -> its rule. `register` adds to it.
RULES: dict[type, Rule] = {
    keras.layers.Dense: Kernel("in", "out", size="units", is_dense=True),
    keras.layers.Conv1D: _CONVOLUTION,
    keras.layers.Conv2D: _CONVOLUTION,
    keras.layers.Conv3D: _CONVOLUTION,
    keras.layers.Conv1DTranspose: _TRANSPOSED,
    keras.layers.Conv2DTranspose: _TRANSPOSED,
    keras.layers.Conv3DTranspose: _TRANSPOSED,
    keras.layers.DepthwiseConv1D: Depthwise(),
    keras.layers.DepthwiseConv2D: Depthwise(),
    keras.layers.SeparableConv1D: Separable(),
    keras.layers.SeparableConv2D: Separable(),
    keras.layers.Embedding: Embedding(),
    keras.layers.BatchNormalization: BatchNorm(),
    own.BatchNormalization: BatchNorm(),
    keras.layers.LayerNormalization: Counted(),
    keras.layers.RMSNormalization: Counted(),
    keras.layers.GroupNormalization: Counted(),
    own.CountedLayerNormalization: Counted(),
    own.CountedRMSNormalization: Counted(),
    own.CountedGroupNormalization: Counted(),
    own.LocalResponseNormalization: Counted(),
    keras.layers.UnitNormalization: UnitNorm(),
    keras.layers.Normalization: InputNormalization(),
    keras.layers.Rescaling: Scale(),
    keras.layers.Activation: Activation(),
    keras.layers.PReLU: ParametricReLU(),
    keras.layers.Lambda: Lambda(),
    keras.layers.Softmax: AlongAxis(),
    own.ChannelMask: Mask(),
    own.TakeUnits: Take(),
    own.PositionBias: PerPosition(),
    **dict.fromkeys(
        [
            *(keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.Identity),
            *(keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D),
            *(keras.layers.GaussianNoise, keras.layers.GaussianDropout),
            *(keras.layers.ActivityRegularization, own.ReplicaDropout),
            *(keras.layers.Add, keras.layers.Subtract, keras.layers.Multiply, keras.layers.Average),
            *(keras.layers.Maximum, keras.layers.Minimum),
        ],
        _PER_UNIT,
    ),
    **dict.fromkeys(
        [
            *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
            *(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D),
            *(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D, keras.layers.GlobalMaxPooling3D),
            *(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
            *(keras.layers.GlobalAveragePooling3D, keras.layers.AdaptiveAveragePooling1D),
            *(keras.layers.AdaptiveAveragePooling2D, keras.layers.AdaptiveAveragePooling3D),
            *(keras.layers.AdaptiveMaxPooling1D, keras.layers.AdaptiveMaxPooling2D),
            *(keras.layers.AdaptiveMaxPooling3D, keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D),
            *(keras.layers.ZeroPadding3D, keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D),
            *(keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D),
            *(keras.layers.Resizing, keras.layers.CenterCrop),
        ],
        _PER_MAP,
    ),
    keras.layers.Dropout: Drop(),
    keras.layers.AlphaDropout: Drop(),
    keras.layers.Flatten: Reshape(),
    keras.layers.Reshape: Reshape(),
    keras.layers.Permute: Permute(),
    keras.layers.RepeatVector: Repeat(),
    keras.layers.Concatenate: Concatenate(),
}

# Layers of keras.applications that Keras does not export, by class name.
_PRIVATE: dict[str, Rule] = {
    "CustomScaleLayer": _PER_UNIT,
    "LayerScale": PerUnit("gamma", size="projection_dim"),
    "StochasticDepth": _PER_UNIT,
}

# Operations of keras.ops, whose classes Keras does not export, by class name.
_OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys(
        [
            *("Absolute", "Arccos", "Arccosh", "Arcsin", "Arcsinh", "Arctan", "Arctanh", "Cast", "Cbrt", "Ceil"),
            *("Celu", "Clip", "Copy", "Cos", "Cosh", "Elu", "Erf", "Erfc", "Exp", "Exp2", "Expm1", "Fabs", "Floor"),
            *("Gelu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh", "Isfinite", "Isinf", "Isnan", "LeakyRelu"),
            *("Log", "Log10", "Log1p", "Log2", "LogSigmoid", "LogicalNot", "NanToNum", "Negative", "OnesLike"),
            *("Reciprocal", "Relu", "Relu6", "Round", "Rsqrt", "SaturateCast", "Selu", "Sigmoid", "Sign", "Silu"),
            *("Sin", "Sinh", "SoftShrink", "Softplus", "Softsign", "SparsePlus", "SparseSigmoid", "Sqrt", "Square"),
            *("Squareplus", "StopGradient", "Tan", "TanhShrink", "Tanh", "Threshold", "Trunc", "ZerosLike"),
            *("Add", "Subtract", "Multiply", "Divide", "DivideNoNan", "TrueDivide", "FloorDivide", "Power", "Mod"),
            *("Maximum", "Minimum", "Fmax", "Fmin", "Arctan2", "Hypot", "Logaddexp", "Equal", "NotEqual", "Greater"),
            *("GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor", "Where"),
        ],
        Pass(),
    ),
    **dict.fromkeys(["AveragePool", "MaxPool", "AdaptiveAveragePool", "AdaptiveMaxPool", "Resize"], _PER_MAP),
    **dict.fromkeys(["Reshape", "ExpandDims", "Squeeze", "Ravel"], Reshape()),
    **dict.fromkeys(["Transpose", "Swapaxes", "Moveaxis"], Permute()),
    **dict.fromkeys(["Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Std", "Var"], Reduce()),
    **dict.fromkeys(["Softmax", "LogSoftmax"], AlongAxis()),
    "Concatenate": Concatenate(),
    "GetItem": GetItem(),
    "Split": Split(),
    "Pad": Padding(),
}

# What a subclass may define anew and still compute what its base computes.
_HARMLESS = frozenset({"from_config", "get_config", "_keras_api_export_path", "_tf_trackable_method_wrappers"})


def register(layer: type, rule: Rule) -> None:
    """Tell surgery how a layer of your own passes units on.

    Args:
      layer: its class.
      rule: a `PerUnit` where every unit of the result depends on the same unit of the inputs alone, a `Kernel` where
        all are multiplied with one kernel, or a `Rule` of your own.

    Raises:
      TypeError: a layer that is no class, or a rule that is none.

    Example:
      >>> class Scale(keras.layers.Layer):
      ...     def build(self, shape):
      ...         self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")
      ...     def call(self, inputs):
      ...         return inputs * self.factor
      >>> tfunits.surgery.register(Scale, tfunits.surgery.PerUnit("factor"))
    """
    if not isinstance(layer, type) or not isinstance(rule, Rule):
        raise TypeError(f"register: expected a layer's class and a Rule, received {layer!r} and {rule!r}")
    RULES[layer] = rule


def find_rule(call: Call) -> Rule:
    """The rule of a call's layer or operation; `Unknown` where nothing is known of it or of one of its weights."""
    operation = call.operation
    if not isinstance(operation, keras.layers.Layer):
        return _OPERATIONS.get(type(operation).__name__, Unknown())
    rule = _rule_of_class(type(operation))
    if rule is None or (len(call.inputs) > 1 and isinstance(rule, Kernel)):
        return Unknown()
    known = {id(getattr(operation, name, None)) for name in rule.weight_axes(operation)}
    return rule if all(id(variable) in known for variable in operation.weights) else Unknown()


def _rule_of_class(kind: type) -> Rule | None:
    """The rule of a class, or of the nearest class above it whose arithmetic it keeps."""
    for above in kind.__mro__:
        if above in RULES:
            return RULES[above]
        if above.__module__.startswith("keras.") and above.__name__ in _PRIVATE:
            return _PRIVATE[above.__name__]
        if any(_changes_arithmetic(above, name) for name in vars(above)):
            return None
    return None


def _changes_arithmetic(kind: type, name: str) -> bool:
    """Whether an attribute of a class takes the place of one of its bases' that a layer may compute with."""
    inherited = any(hasattr(base, name) for base in kind.__bases__)
    is_plain = name in _HARMLESS or (name.startswith("__") and name != "__call__")
    return inherited and not is_plain
