"""The last hidden layer of a classifier, its chunks, what they reconstruct, and its dimension."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfunits.measures.devices import Piece, most_examples, run_pieces
from tfunits.measures.inputs import check_least, check_one_of, choose_taps
from tfunits.statistics import (
    ChunkErrors,
    IntrinsicDimension,
    ReconstructionCurve,
    StreamingMoments,
    check_sizes,
    draw_chunks,
    draw_orders,
    reconstruction_curve,
)
from tfunits.statistics import intrinsic_dimension as estimate_dimension
from tfunits.surgery import Graph, Inputs, TensorKey, find_last_hidden

# Doimo et al. 2022, section 3: random chunks of every size, and reconstructions.
CHUNK_DRAWS = 500
RECONSTRUCTION_DRAWS = 100
# Points of the nearest-neighbour search, whose time grows with their square.
MAX_POINTS = 10_000
# Their coordinates together, of which half a dozen copies in float64 stand in memory: 3 GiB.
_MOST_COORDINATES = 2**26
TARGETS = ("layer", "chunk")
# Gathered activations that stand in memory at once: 32 MiB of float32, about what a core's caches can hold in pieces.
_GATHERED_VALUES = 2**23


def chunks(
    model: keras.Model,
    data: Any,
    *,
    sizes: Sequence[int] | None = None,
    draws: int = CHUNK_DRAWS,
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> ChunkErrors:
    """Errors of a network when only a random chunk of its last hidden layer's units is left.

      class(x) = argmax(F_S(x) W_S + b),  S the w units of the chunk; nothing is rescaled, the bias is whole

    Args:
      model: a functional model that ends in a dense layer.
      data: with labels: a `tfunits.datasets.Dataset` or a batched tf.data.Dataset of (inputs, labels).
      sizes: of the chunks; 1, 2, 4, ... and the whole layer if None.
      draws: random chunks of every size, at least 1.
      seed: of the chunks.
      split: which split of a `Dataset`.
      strategy: whose devices share the work; the numbers are the same.

    Returns: a `ChunkErrors`.

    Raises:
      ValueError: data without labels, a size that the layer does not have, no dense last layer, or a model that is
        not functional.

    Example:
      `tfunits.measures.chunks(model, data, split="train").clone_size()` is w*, its `num_clones()` W / w*.

    Source: Doimo et al. 2022, sections 2.2 and 3.
    """
    check_least("draws", draws, 1)
    graph = Graph(model)
    key, dense = find_last_hidden(graph)
    inputs = Inputs(data, split, model)
    inputs.require_labels()
    width = graph.shape(key)[-1]
    known = check_sizes(sizes, width)
    kernel = keras.ops.convert_to_numpy(dense.kernel).astype(np.float32)
    bias = keras.ops.convert_to_numpy(dense.bias).astype(np.float32) if dense.use_bias else np.zeros(kernel.shape[1])
    drawn = {size: draw_chunks(width, size, draws, seed).astype(np.int32) for size in known}
    read = _reader(graph, key)
    run_chunks = _compile_chunks(width, bias.astype(np.float32))

    def run(piece: Piece) -> list[np.ndarray]:
        features = tf.transpose(read(piece.inputs))
        found = []
        for units in drawn.values():
            block = max(1, _GATHERED_VALUES // (piece.size * units.shape[1]))
            parts = [units[first : first + block] for first in range(0, len(units), block)]
            found.append(np.concatenate([run_chunks(features, part, kernel[part]).numpy() for part in parts]))
        return found

    num_wrong = {size: np.zeros(len(units), np.int64) for size, units in drawn.items()}
    wrong_draws: dict[int, list[np.ndarray]] = {size: [] for size in known}
    for piece, found in run_pieces(
        run, inputs, strategy=strategy, most_examples=most_examples(graph), description="chunks"
    ):
        for size, classes in zip(known, found, strict=True):
            wrong = classes != piece.labels
            num_wrong[size] += wrong.sum(axis=1)
            wrong_draws[size].append(wrong.sum(axis=0) * (draws if size == width else 1))
    return ChunkErrors(
        sizes=np.array(known),
        num_examples=sum(map(len, wrong_draws[width])),
        num_wrong=np.stack([np.broadcast_to(wrong, draws) for wrong in num_wrong.values()]),
        wrong_draws=np.stack([np.concatenate(parts) for parts in wrong_draws.values()]).astype(np.int32),
    )


def _reader(graph: Graph, key: TensorKey) -> Any:
    """Batch of inputs -> a tensor of the network in float32, one row an example."""

    def read(batch: list[tf.Tensor]) -> tf.Tensor:
        (value,) = graph.run(dict(zip(graph.inputs, batch, strict=True)), [key], inference=True)
        return tf.cast(tf.reshape(value, [tf.shape(value)[0], -1]), tf.float32)

    return graph.compile(read, [[graph.spec(k) for k in graph.inputs]], graph.needed([key], graph.inputs))


def _compile_chunks(width: int, bias: np.ndarray) -> Any:
    """Function of features [units, batch], chunks [draws, w] and weights [draws, w, classes]: int32 [draws, batch]."""

    def classes(features: tf.Tensor, units: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        gathered = tf.gather(features, units)
        scores = tf.matmul(gathered, weights, transpose_a=True) + tf.constant(bias)
        if len(bias) == 1:
            return tf.cast(scores[..., 0] > 0, tf.int32)
        return tf.argmax(scores, axis=-1, output_type=tf.int32)

    signature = [
        tf.TensorSpec([width, None], tf.float32),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None, len(bias)], tf.float32),
    ]
    return tf.function(classes, input_signature=signature, autograph=False).get_concrete_function()


def reconstruction(
    model: keras.Model,
    data: Any,
    *,
    sizes: Sequence[int] | None = None,
    draws: int = RECONSTRUCTION_DRAWS,
    target: str = "layer",
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
) -> ReconstructionCurve:
    """How well random chunks of the last hidden layer determine it linearly, and how correlated what is left is.

    One pass over the data gives the covariance of the layer on every other example and on the rest; everything else
    follows from it. In-sample numbers are of all examples and all pairs, as Doimo et al. have them; held out, the map
    is fitted on examples 0, 2, 4, ... and scored on the others, over pairs outside the chunk.

    Args:
      model: a functional model that ends in a dense layer.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      sizes: of the chunks; 1, 2, 4, ... and the whole layer if None; to a chunk, up to half of it.
      draws: random chunks of every size, at least 1.
      target: "layer", or "chunk": another random chunk of the same size, which shares no unit.
      seed: of the chunks.
      split: which split of a `Dataset`.
      strategy: whose devices share the work.

    Returns: a `ReconstructionCurve`, with the noise floor and which sizes have too few rows.

    Raises:
      ValueError: a size that the layer does not have, or none up to half of it for a map to a chunk, another target,
        no dense last layer, fewer than four examples, or a model that is not functional.

    Source: Doimo et al. 2022, sections 2.2 and 3; DESIGN section 6.
    """
    check_least("draws", draws, 1)
    check_one_of("target", target, TARGETS)
    graph = Graph(model)
    key, _ = find_last_hidden(graph)
    inputs = Inputs(data, split, model)
    width = int(np.prod(graph.shape(key)[1:]))
    to_chunk = target == "chunk"
    known = [size for size in check_sizes(sizes, width) if not to_chunk or 2 * size <= width]
    if not known:
        raise ValueError(f"sizes: expected one of at most half of {width} units for a map to a chunk, received {sizes}")
    read = _reader(graph, key)
    halves = [StreamingMoments(width), StreamingMoments(width)]
    for piece, features in run_pieces(
        lambda piece: read(piece.inputs).numpy(), inputs, strategy=strategy, most_examples=most_examples(graph),
        description="reading the last layer",
    ):  # fmt: skip
        for parity, half in enumerate(halves):
            half.add(features[(piece.first + parity) % 2 :: 2])
    even, odd = (half.moments() for half in halves)
    if min(even.count, odd.count) < 2:
        raise ValueError(f"data: expected at least four examples, received {even.count + odd.count}")
    orders = [draw_orders(width, size, draws, seed) for size in known]
    return reconstruction_curve(even, odd, known, orders, to_chunk=to_chunk)


def intrinsic_dimension(
    model: keras.Model,
    data: Any,
    *,
    tap: str | None = None,
    max_points: int = MAX_POINTS,
    seed: int = 0,
    split: str = "test",
    strategy: tf.distribute.Strategy | None = None,
    **options: Any,
) -> IntrinsicDimension:
    """Dimension of the set of a layer's activations, from the distances to their two nearest neighbours.

    Args:
      model: a functional model.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      tap: a tap, all of whose positions are coordinates; the last hidden layer if None.
      max_points: examples, at random, at least 3; fewer of wide feature maps, so that memory stays below 4 GiB.
      seed: of the choice of examples.
      split: which split of a `Dataset`.
      strategy: whose devices share the forward passes.
      **options: of `tfunits.statistics.intrinsic_dimension`.

    Returns: an `IntrinsicDimension`.

    Raises:
      ValueError: an unknown tap, no dense last layer, fewer than three different points, or a model that is not
        functional.

    Source: Facco et al. 2017 (TwoNN); Doimo et al. 2022, section 3.
    """
    check_least("max_points", max_points, 3)
    graph = Graph(model)
    key = find_last_hidden(graph)[0] if tap is None else choose_taps(graph, [tap])[tap]
    inputs = Inputs(data, split, model)
    read = _reader(graph, key)
    chosen = None
    coordinates = int(np.prod([size or 1 for size in graph.shape(key)[1:]]))
    max_points = max(3, min(max_points, _MOST_COORDINATES // coordinates))
    if inputs.num_examples > max_points:
        chosen = np.random.default_rng(seed).choice(inputs.num_examples, max_points, replace=False)
    points = []
    for piece, features in run_pieces(
        lambda piece: read(piece.inputs).numpy(), inputs, strategy=strategy, most_examples=most_examples(graph),
        description="reading activations",
    ):  # fmt: skip
        kept = slice(None) if chosen is None else np.isin(np.arange(piece.first, piece.first + piece.size), chosen)
        points.append(features[kept])
    return estimate_dimension(np.concatenate(points), **options)
