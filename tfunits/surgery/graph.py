"""A functional Keras model as a flat list of calls, which can be run from any set of tensors to any other."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# The number of the model call that a tensor belongs to, and the identity of its symbolic tensor.
TensorKey = tuple[int, int]
# Weights of up to 16 MiB become constants of a compiled function, so that TensorFlow folds batch normalisation into
# convolutions before it runs; larger ones take long to embed, and are mostly dense kernels, which gain nothing.
_LARGEST_CONSTANT = 2**22


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
      name: the operation's name, with the names of nested models before it ("inner/conv") and "#2" behind a second
        call of a shared one.
      operation: the Keras layer or operation.
      inputs: keys of the tensors it reads.
      outputs: keys of the tensors it makes.
    """

    name: str
    operation: Any
    inputs: tuple[TensorKey, ...]
    outputs: tuple[TensorKey, ...]
    _node: Any
    _training: bool | None

    @property
    def arguments(self) -> tuple[tuple, dict[str, Any]]:
        """What the operation is called with, symbolic tensors in the place of values."""
        return self._node.arguments.args, self._node.arguments.kwargs

    def run(self, values: Mapping[TensorKey, Any], *, inference: bool, operation: Any = None) -> list[Any]:
        """The call's outputs for given values of its inputs; another operation can stand in the place of its own."""
        by_tensor = {id(t): values[key] for t, key in zip(self._node.input_tensors, self.inputs, strict=True)}
        arguments, options = self._node.arguments.fill_in(by_tensor)
        # As in Keras, an outer setting wins over that of a nested model's call, and this over a layer's own.
        training = False if inference else self._training
        if training is not None and getattr(self.operation, "_call_has_training_arg", False):
            options = {**options, "training": training}
        return keras.tree.flatten((operation or self.operation)(*arguments, **options))


class Graph:
    """The calls of a functional model in an order in which they can be run, nested models laid open.

    Args:
      model: a functional or a built Sequential model.

    Raises:
      ValueError: a subclassed or an unbuilt model.

    Attributes:
      calls: every call, producers before consumers.
      inputs, outputs: keys of the model's inputs and outputs.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.calls: list[Call] = []
        self._tensors: dict[TensorKey, Any] = {}
        self._alias: dict[TensorKey, TensorKey] = {}
        self._num_scopes = 0
        functional = as_functional(model)
        scope = self._lay_open(functional, prefix="", arguments=None, training=None)
        self.inputs = tuple((scope, id(tensor)) for tensor in functional.inputs)
        self.outputs = tuple(self._resolve((scope, id(tensor))) for tensor in functional.outputs)
        self.producer = {key: call for call in self.calls for key in call.outputs}
        self._position = {call: position for position, call in enumerate(self.calls)}
        self._consumers = collections.defaultdict(list)
        for call in self.calls:
            for key in dict.fromkeys(call.inputs):
                self._consumers[key].append(call)

    def _resolve(self, key: TensorKey) -> TensorKey:
        while key in self._alias:
            key = self._alias[key]
        return key

    def _lay_open(
        self, functional: Any, prefix: str, arguments: Sequence[TensorKey] | None, training: bool | None
    ) -> int:
        """Append the calls of one model; a nested one is called with `arguments` (keys) and the option `training`."""
        scope = self._num_scopes
        self._num_scopes += 1
        for position, tensor in enumerate(functional.inputs):
            self._tensors[scope, id(tensor)] = tensor
            if arguments is not None:
                self._alias[scope, id(tensor)] = arguments[position]
        times_called: collections.Counter[str] = collections.Counter()
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if node.is_input or not node.operation:
                    continue
                read = tuple(self._resolve((scope, id(tensor))) for tensor in node.input_tensors)
                times_called[node.operation.name] += 1
                nth = times_called[node.operation.name]
                name = prefix + node.operation.name + (f"#{nth}" if nth > 1 else "")
                made = tuple((scope, id(tensor)) for tensor in node.outputs)
                inner = _nested(node.operation)
                if inner is None:
                    self._tensors.update(zip(made, node.outputs, strict=True))
                    self.calls.append(Call(name, node.operation, read, made, node, training))
                    continue
                inner_training = node.arguments.kwargs.get("training") if training is None else training
                inner_scope = self._lay_open(inner, f"{name}/", read, inner_training)
                for key, tensor in zip(made, inner.outputs, strict=True):
                    self._alias[key] = self._resolve((inner_scope, id(tensor)))
        return scope

    @property
    def input_names(self) -> list[str]:
        """Names of the model's inputs."""
        # A tensor that was not named has another name than its layer, by which Keras knows it.
        return [tensor._keras_history.operation.name for tensor in as_functional(self.model).inputs]

    def copy_inputs(self) -> list[Any]:
        """New symbolic inputs of the same shapes, types and names."""
        tensors = zip(as_functional(self.model).inputs, self.input_names, strict=True)
        return [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name) for tensor, name in tensors]

    def pack_inputs(self, inputs: Sequence[Any]) -> Any:
        """Inputs in the structure that the model is called with."""
        return keras.tree.pack_sequence_as(as_functional(self.model)._inputs_struct, list(inputs))

    def pack_outputs(self, outputs: Sequence[Any]) -> Any:
        """Outputs in the structure that the model gives."""
        return keras.tree.pack_sequence_as(as_functional(self.model)._outputs_struct, list(outputs))

    def free_name(self, name: str) -> str:
        """A layer name that the model does not use: the given one, or with a number behind it."""
        taken = {call.operation.name for call in self.calls} | set(self.input_names)
        numbered = (f"{name}_{i}" for i in itertools.count(2))
        return next(free for free in itertools.chain([name], numbered) if free not in taken)

    def shape(self, key: TensorKey) -> tuple[int | None, ...]:
        """Static shape of a tensor, batch axis first."""
        return tuple(self._tensors[key].shape)

    def dtype(self, key: TensorKey) -> str:
        """Type of a tensor's values."""
        return self._tensors[key].dtype

    def spec(self, key: TensorKey) -> tf.TensorSpec:
        """A tensor's shape with any batch size, and its type, as a signature for `tf.function`."""
        return tf.TensorSpec([None, *self.shape(key)[1:]], self.dtype(key))

    def consumers(self, key: TensorKey) -> list[Call]:
        """The calls that read a tensor."""
        return self._consumers[key]

    def position_behind(self, key: TensorKey) -> int:
        """The first position in `calls` at which a tensor is there: 0 for an input."""
        return self._position[self.producer[key]] + 1 if key in self.producer else 0

    def first_position(self, operation: Any) -> int:
        """The position in `calls` of an operation's first call."""
        return next(position for position, call in enumerate(self.calls) if call.operation is operation)

    def live(self, position: int) -> tuple[TensorKey, ...]:
        """The tensors made before a position in `calls` that it or anything behind it reads, outputs included."""
        made = {key for call in self.calls[position:] for key in call.outputs}
        read = [key for call in self.calls[position:] for key in call.inputs] + list(self.outputs)
        return tuple(dict.fromkeys(key for key in read if key not in made))

    def behind(self, keys: Iterable[TensorKey]) -> list[Call]:
        """The calls whose result depends on any of the tensors, in order."""
        reached = set(keys)
        calls = []
        for call in self.calls:
            if reached.intersection(call.inputs):
                calls.append(call)
                reached.update(call.outputs)
        return calls

    def frontier(self, keys: Sequence[TensorKey]) -> tuple[TensorKey, ...]:
        """What must be known to run everything behind the tensors: all that is read there and made before."""
        calls = self.behind(keys)
        made = {key for call in calls for key in call.outputs}
        read = [key for call in calls for key in call.inputs] + list(self.outputs) + list(keys)
        return tuple(dict.fromkeys(key for key in read if key not in made))

    def needed(self, wanted: Iterable[TensorKey], given: Iterable[TensorKey]) -> list[Call]:
        """The calls that make the wanted tensors out of the given ones, in order."""
        given, missing = set(given), set(wanted)
        calls = []
        for call in reversed(self.calls):
            if missing.intersection(call.outputs) - given:
                calls.append(call)
                missing.update(call.inputs)
        return calls[::-1]

    def compile(self, function: Callable, signature: Sequence[Any], calls: Iterable[Call] | None = None) -> Callable:
        """A function of tensors, traced once for any batch size, with the present weights as its constants.

        Args:
          function: takes the signature's structures of tensors and runs some calls.
          signature: nested `tf.TensorSpec`, one entry an argument.
          calls: those that it runs; all if None.
        """
        constants = [
            (variable, keras.ops.convert_to_numpy(variable))
            for variable in weights_of(self.calls if calls is None else calls)
            if int(np.prod(variable.shape)) <= _LARGEST_CONSTANT
        ]

        # With the function's own signature, since TensorFlow would trace one of any number of arguments twice.
        @functools.wraps(function)
        def with_constants(*arguments: Any) -> Any:
            with hold_weights([(variable, tf.constant(value)) for variable, value in constants]):
                return function(*arguments)

        # The concrete function, since TensorFlow warns when several functions of one source line are each traced once.
        return tf.function(with_constants, input_signature=signature, autograph=False).get_concrete_function()

    def compile_reader(self, keys: Sequence[TensorKey]) -> Callable:
        """A compiled function from a list of the model's inputs to a list of its tensors, at inference."""
        keys = list(keys)

        def read(inputs: list[Any]) -> list[Any]:
            return self.run(dict(zip(self.inputs, inputs, strict=True)), keys, inference=True)

        return self.compile(read, [[self.spec(key) for key in self.inputs]], self.needed(keys, self.inputs))

    def run(
        self,
        given: Mapping[TensorKey, Any],
        wanted: Sequence[TensorKey],
        *,
        edit: Callable[[TensorKey, Any], Any] | None = None,
        inference: bool = False,
    ) -> list[Any]:
        """Compute tensors from others.

        Args:
          given: values by key: tensors, or Keras' symbolic tensors to build a new model.
          wanted: keys to compute.
          edit: (key, value) -> value, applied to every given and every computed tensor.
          inference: call every layer with training=False.

        Returns: one value per wanted key.
        """
        values = {key: edit(key, value) if edit else value for key, value in given.items()}
        for call in self.needed(wanted, given):
            for key, value in zip(call.outputs, call.run(values, inference=inference), strict=True):
                values[key] = edit(key, value) if edit else value
        return [values[key] for key in wanted]


def hold_weights(values: Sequence[tuple[keras.Variable, Any]]) -> keras.StatelessScope:
    """A context in which variables have the given values, without being assigned."""
    # Without this option its end would make every variable of the process that is still without a value, as those of
    # networks whose weights were only counted: gigabytes, and a second trace.
    return keras.StatelessScope(values, initialize_variables=False)


def weights_of(calls: Iterable[Call]) -> list[keras.Variable]:
    """The variables of the layers that are called, each once."""
    layers = (call.operation for call in calls if isinstance(call.operation, keras.layers.Layer))
    return list({id(variable): variable for layer in layers for variable in layer.variables}.values())


def as_functional(model: keras.Model) -> Any:
    """The functional model behind a model.

    Raises:
      ValueError: a subclassed or an unbuilt model.
    """
    functional = _nested(model)
    if functional is not None:
        return functional
    kind, advice = f"a {type(model).__name__}", "build it as keras.Model(inputs, outputs) from keras.Input tensors"
    if isinstance(model, keras.Sequential) and not _has_own_call(model):
        kind, advice = "an unbuilt Sequential", "call its build(input_shape)"
    elif isinstance(model, keras.Model):
        kind, advice = f"the subclass {type(model).__name__}", "use x = keras.Input(...); keras.Model(x, model.call(x))"
    raise ValueError(f"model: expected a functional Keras model, received {kind}; {advice}")


def _nested(operation: Any) -> Any:
    """The functional graph of a model used as a layer; None for anything else."""
    if _has_own_call(operation):
        return None
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None)
    return operation if hasattr(operation, "_nodes_by_depth") else None


def _has_own_call(operation: Any) -> bool:
    """Whether a class of the user's own says what a call does, whatever graph Keras' class below it holds."""
    own = itertools.takewhile(lambda kind: not kind.__module__.startswith("keras."), type(operation).__mro__)
    return any("call" in vars(kind) or "__call__" in vars(kind) for kind in own)
