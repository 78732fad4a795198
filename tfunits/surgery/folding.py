"""Smaller models whose remaining units take over what removed ones did."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import scipy.linalg

from tfunits.statistics import Moments, StreamingMoments
from tfunits.surgery.choice import check_indices, check_left, check_removable, find_units
from tfunits.surgery.constants import known_shape, place_constants
from tfunits.surgery.graph import Graph, TensorKey
from tfunits.surgery.inputs import Inputs
from tfunits.surgery.rebuild import Edit, Selection, rebuild
from tfunits.surgery.units import Read, UnitMap

BASES = ("units", "components")
_PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
# Constants of less than this share of a unit's root mean square are rounding errors.
_SMALLEST_CONSTANT = 1e-5
# Directions of less than this share of the largest variance are rounding errors of float32 activations.
_SMALLEST_VARIANCE = 1e-10


def fold_units(
    model: keras.Model,
    layer: str,
    keep: Sequence[int] | None,
    remove: Sequence[int],
    data: Any,
    *,
    intercept: bool = True,
    split: str = "train",
) -> keras.Model:
    """A smaller model in which kept units take over the outgoing weights of removed ones.

      a_j ~ sum_i gamma_ij a_i + c_j   (least squares on data)
      w_i' = w_i + sum_j gamma_ij w_j,   bias' = bias + sum_j c_j w_j

    Where a removed unit is a linear function of kept ones, the function stays. Every layer that reads the units has
    coefficients of its own, fitted where it reads them; at all positions of a map together. The constant goes into
    the bias, by position where a padded convolution reads it. Behind a response normalisation a removed unit no longer
    damps its neighbours.

    Args:
      model: a functional model.
      layer: name of the layer whose units are folded.
      keep: indices of the units that take over; all but the removed ones if None.
      remove: indices of the units that go.
      data: a `tfunits.datasets.Dataset`, a batched tf.data.Dataset of inputs or (inputs, labels), or an array.
      intercept: whether c is fitted; 0 if not.
      split: which split of a `Dataset`.

    Returns: a functional model; it has all units of the layer but the removed ones.

    Raises:
      ValueError: as `remove_units`; an index both kept and removed; no unit to keep; data of another shape; a layer
        that reads the units and is no linear function of all of them, as a normalisation or a grouped convolution.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> fold_units(model, "hidden", [0, 1, 2], [3], np.eye(10)).get_layer("hidden").units
      127

    Source: Casper et al. 2021, section 3 (redundant units); Srinivas and Babu 2015.
    """
    graph = Graph(model)
    units = UnitMap(graph)
    ids = find_units(units, layer)
    removed = check_indices("remove", remove, len(ids))
    # Several positions may be of one unit, as behind a flattened map.
    is_gone = np.isin(ids, ids[removed])
    kept = np.flatnonzero(~is_gone) if keep is None else check_indices("keep", keep, len(ids))
    if is_gone[kept].any():
        both = sorted(kept[is_gone[kept]].tolist())
        raise ValueError(f"keep: expected units that are not removed, nor tied to removed ones, received {both}")
    if not len(kept):
        raise ValueError("keep: expected at least one unit that takes over, received none")
    return _fold(graph, units, layer, ids[kept], ids[removed], Inputs(data, split, model), intercept=intercept)


def factorize(
    model: keras.Model,
    layer: str,
    num_components: int,
    data: Any,
    *,
    basis: str = "units",
    split: str = "train",
) -> keras.Model:
    """A model whose readers of a layer see fewer numbers: activational low-rank factorization.

      A' W' ~ A W,   W' = pinv(A') A W,   A the activations of the layer

    With basis="units", A' are the activations of some of the units, chosen by QR with column pivoting; the others are
    removed. With basis="components", A' = A V are the coordinates along the leading eigenvectors of A^T A: all units
    stay, and a linear layer without bias stands before each reader.

    Args:
      model: a functional model.
      layer: name of the layer.
      num_components: units or components that are left, at least 1 and at most the layer's units.
      data: as `fold_units`.
      basis: "units" or "components".
      split: which split of a `Dataset`.

    Returns: a functional model.

    Raises:
      ValueError: as `fold_units`; a number of components that the layer does not have; another basis; with
        "components", units that do not stand along the last axis.

    Example:
      >>> model = tfunits.models.build("mlp", input_shape=(10,), num_classes=2)
      >>> factorize(model, "hidden", 10, np.eye(10)).get_layer("hidden").units
      10

    Source: Casper et al. 2021, appendix C.
    """
    if basis not in BASES:
        raise ValueError(f"basis: expected one of {', '.join(BASES)}, received {basis!r}")
    graph = Graph(model)
    units = UnitMap(graph)
    ids = find_units(units, layer)
    own = np.array(list(dict.fromkeys(ids.tolist())))
    if not 1 <= num_components <= len(own):
        raise ValueError(f"num_components: expected 1 to {len(own)}, the units of {layer!r}, received {num_components}")
    if basis == "units":
        check_removable(units, layer, own)
    reads = _kernel_reads(units, own)
    inputs = Inputs(data, split, model)
    if basis == "units":
        second = _second_moment(read_moments(units, {layer: (reads, own)}, inputs)[layer])
        chosen = own[_pivots(second, num_components)]
        removed = np.setdiff1d(own, chosen)
        return _fold(graph, units, layer, chosen, removed, inputs, intercept=False)
    return _project(graph, units, own, reads, num_components, inputs)


def _fold(
    graph: Graph,
    units: UnitMap,
    layer: str,
    kept: np.ndarray,
    gone: np.ndarray,
    inputs: Inputs,
    *,
    intercept: bool,
) -> keras.Model:
    """Fold units, given by their numbers, into others."""
    check_removable(units, layer, gone)
    removed = np.zeros(units.num_units, bool)
    removed[gone] = True
    check_left(units, removed)
    if not len(gone):
        return rebuild(graph, units, (~removed).astype(int), Edit(), suffix="folded")
    kept, gone = _unique(kept), _unique(gone)
    reads = _kernel_reads(units, gone)
    columns = np.concatenate([kept, gone])
    by_layer: dict[Any, list[Read]] = {}
    for read in reads:
        by_layer.setdefault(read.call.operation, []).append(read)
    moments = read_moments(units, {name: (own, columns) for name, own in by_layer.items()}, inputs)
    selection = Selection(units, (~removed).astype(int))
    reading, constants = {}, {}
    for operation, own in by_layer.items():
        gamma, constant = _regress(moments[operation], len(kept), intercept=intercept)
        for read in own:
            ids = units.layouts[read.key][read.axis]
            coefficients = np.concatenate([np.eye(len(kept)), gamma], axis=1)
            reading[operation] = take_over(selection, ids, kept, np.concatenate([kept, gone]), coefficients)
            if constant.any():
                constants[read] = _constant_map(graph, read, ids, gone, constant)
    bias, shift = place_constants(units, constants)
    return rebuild(graph, units, selection.copies, Edit(reading=reading, bias=bias, shift=shift), suffix="folded")


def _unique(numbers: Iterable[int]) -> np.ndarray:
    """Each number once, in order."""
    return np.array(list(dict.fromkeys(np.asarray(numbers).tolist())), int)


def _kernel_reads(units: UnitMap, numbers: np.ndarray) -> list[Read]:
    """The layers that read some units, each with one kernel; response normalisation is passed.

    Raises:
      ValueError: a reader of another kind, or no reader.
    """
    reads = [read for read in units.reads if np.isin(units.layouts[read.key][read.axis], numbers).any()]
    for read in reads:
        if read.kind not in ("kernel", "response"):
            kind = type(read.call.operation).__name__
            raise ValueError(
                f"{read.call.name}: expected dense layers and convolutions of one group to read the units, received a "
                f"{kind}, whose weights cannot take other units over; use remove_units"
            )
    reads = [read for read in reads if read.kind == "kernel"]
    if not reads:
        raise ValueError("layer: expected units that a dense layer or convolution reads, received units that none does")
    return reads


def find_columns(ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Positions of each unit along an axis [units, positions]: several behind a flattened map.

    Raises:
      ValueError: units of which some stand there more often than others.
    """
    found = [np.flatnonzero(ids == number) for number in numbers]
    if len({len(places) for places in found}) != 1:
        raise ValueError(
            "layer: expected units that are read together, received some that one layer reads and others that it does "
            "not; name units of one layer"
        )
    return np.stack(found)


def read_moments(
    units: UnitMap, wanted: Mapping[Any, tuple[Sequence[Read], np.ndarray]], batches: Iterable[Sequence[Any]]
) -> dict[Any, Moments]:
    """Moments of units where they are read, in one pass over data.

    Args:
      units: of the graph.
      wanted: any name -> calls that read units, whose samples are put together, and the numbers of these units.
      batches: of the network's inputs.
    """
    streams = {name: StreamingMoments(len(numbers)) for name, (_, numbers) in wanted.items()}
    keys = list(dict.fromkeys(_unpadded(units.graph, read.key) for reads, _ in wanted.values() for read in reads))
    run = units.graph.compile_reader(keys)
    for batch in batches:
        values = dict(zip(keys, (value.numpy() for value in run(batch)), strict=True))
        for name, (reads, numbers) in wanted.items():
            for key, axis in dict.fromkeys((_unpadded(units.graph, read.key), read.axis) for read in reads):
                streams[name].add(unit_rows(values[key], axis, units.layouts[key][axis], numbers))
    return {name: stream.moments() for name, stream in streams.items()}


def unit_rows(values: np.ndarray, axis: int, ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Activations of some units [samples, units], every position of every example one sample."""
    rows = np.moveaxis(values, axis, -1)[..., find_columns(ids, numbers)]
    return np.moveaxis(rows, -2, -1).reshape(-1, len(numbers))


def _second_moment(moments: Moments) -> np.ndarray:
    """A^T A of the activations, not centred."""
    return moments.scatter + moments.count * np.outer(moments.mean, moments.mean)


def _regress(moments: Moments, num_kept: int, *, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [kept, removed] and constants [removed] of the least squares fit of the last units to the first."""
    scatter = moments.scatter if intercept else _second_moment(moments)
    gamma = scipy.linalg.pinvh(scatter[:num_kept, :num_kept], rtol=_SMALLEST_VARIANCE) @ scatter[:num_kept, num_kept:]
    if not intercept:
        return gamma, np.zeros(gamma.shape[1])
    constant = moments.mean[num_kept:] - moments.mean[:num_kept] @ gamma
    size = np.sqrt(np.diag(_second_moment(moments))[num_kept:] / max(moments.count, 1))
    return gamma, np.where(np.abs(constant) > _SMALLEST_CONSTANT * size, constant, 0)


def take_over(
    selection: Selection, ids: np.ndarray, left: np.ndarray, numbers: np.ndarray, coefficients: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """How a kernel's rows change when units that are left stand for those before, for `Edit.reading`.

      activations before = coefficients^T activations now,   so that rows now = coefficients rows before

    Args:
      selection: what is left.
      ids: units along the axis, of which each of `numbers` may stand at several positions, as behind a flattened map.
      left: numbers of the units that are left.
      numbers: numbers of the units before.
      coefficients: [left, numbers], the same at every position. Rows of all other units stay.
    """
    positions = selection.positions(ids)
    now = np.full(len(ids), -1)
    now[positions] = np.arange(len(positions))
    old, new = find_columns(ids, numbers), now[find_columns(ids, left)]

    def change(rows: np.ndarray) -> np.ndarray:
        changed = rows[positions]
        changed[new] = np.tensordot(coefficients, rows[old], axes=1)
        return changed

    return change


def _constant_map(graph: Graph, read: Read, ids: np.ndarray, gone: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Constants of the removed units as one example of the tensor that is read [1, ...]."""
    values = np.zeros(len(ids), "float32")
    values[find_columns(ids, gone)] = constant[:, None]
    shape = [1] * len(graph.shape(read.key))
    shape[read.axis] = len(ids)
    # Padding stays 0.
    key = _unpadded(graph, read.key)
    inside = np.broadcast_to(values.reshape(shape), (1, *known_shape(graph, key))).copy()
    return keras.ops.convert_to_numpy(graph.run({key: inside}, [read.key], inference=True)[0])


def _unpadded(graph: Graph, key: TensorKey) -> TensorKey:
    """The tensor that a layer of zero padding reads, where one makes this one."""
    while key in graph.producer and isinstance(graph.producer[key].operation, _PADDINGS):
        (key,) = graph.producer[key].inputs
    return key


def _pivots(second: np.ndarray, count: int) -> np.ndarray:
    """Columns that QR with pivoting of A chooses first, out of A^T A."""
    variances, vectors = np.linalg.eigh(second)
    # A square root of A^T A has the same R.
    root = np.sqrt(np.maximum(variances, 0))[:, None] * vectors.T
    return np.sort(scipy.linalg.qr(root, mode="r", pivoting=True)[1][:count])


def _project(
    graph: Graph, units: UnitMap, own: np.ndarray, reads: Sequence[Read], num_components: int, inputs: Inputs
) -> keras.Model:
    """Put a linear layer before every reader of some units."""
    by_layer: dict[Any, list[Read]] = {}
    for read in reads:
        if read.axis != len(graph.shape(read.key)) - 1:
            raise ValueError(
                f"{read.call.name}: expected units along the last axis, received axis {read.axis}; "
                "use basis='units', or channels_last"
            )
        by_layer.setdefault(read.call.operation, []).append(read)
    moments = read_moments(units, {name: (calls, own) for name, calls in by_layer.items()}, inputs)
    reading, before = {}, {}
    for operation, calls in by_layer.items():
        ids = units.layouts[calls[0].key][-1]
        projection = _projection(_second_moment(moments[operation]), num_components)
        matrix, width = _spread_projection(ids, own, projection)
        if width < len(ids) and len(graph.shape(calls[0].key)) > 2:
            raise ValueError(
                f"{operation.name}: expected every unit once at a position, received some that stand there several "
                "times; use basis='units'"
            )
        reading[operation] = functools.partial(_project_rows, matrix)
        name = graph.free_name(f"{operation.name}_basis")
        insert = _Linear(matrix, num_positions=len(ids) // width, name=name, dtype=operation.dtype_policy)
        before.update({read.call: insert for read in calls})
    return rebuild(
        graph, units, np.ones(units.num_units, int), Edit(reading=reading, before=before), suffix="factorized"
    )


def _project_rows(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a kernel that reads A V in the place of A, at every position of a flattened map."""
    spread = rows.reshape(-1, len(matrix), rows.shape[1])
    return np.einsum("uc,pur->pcr", matrix, spread).reshape(-1, rows.shape[1])


def _projection(second: np.ndarray, count: int) -> np.ndarray:
    """The leading eigenvectors [units, components]."""
    return np.linalg.eigh(second)[1][:, ::-1][:, :count]


def _spread_projection(ids: np.ndarray, own: np.ndarray, projection: np.ndarray) -> tuple[np.ndarray, int]:
    """The projection of some units beside the identity on the others that are read with them; how many are read.

    Raises:
      ValueError: units of a map that is flattened otherwise than position by position.
    """
    places = np.flatnonzero(ids == own[0])
    width = len(ids) // len(places)
    if not (ids.reshape(len(places), width) == ids[:width]).all():
        raise ValueError("layer: expected a map that is flattened with its channels last; use basis='units'")
    positions = find_columns(ids[:width], own)[:, 0]
    others = np.setdiff1d(np.arange(width), positions)
    count = projection.shape[1]
    matrix = np.zeros((width, count + len(others)))
    matrix[positions, :count] = projection
    matrix[others, count + np.arange(len(others))] = 1
    return matrix, width


class _Linear:
    """A dense layer without bias on every position of a flattened map, put in where it is called; its weights once."""

    def __init__(self, matrix: np.ndarray, *, num_positions: int, name: str, dtype: Any) -> None:
        self._matrix, self._num_positions = matrix, num_positions
        self._dense = keras.layers.Dense(matrix.shape[1], use_bias=False, name=name, dtype=dtype)
        self._calls = 0

    def __call__(self, tensor: Any) -> Any:
        mark = f"_{self._calls}" if self._calls else ""
        self._calls += 1
        if self._num_positions > 1:
            shape = (self._num_positions, len(self._matrix))
            tensor = keras.layers.Reshape(shape, name=f"{self._dense.name}_positions{mark}")(tensor)
        found = self._dense(tensor)
        self._dense.set_weights([self._matrix])
        if self._num_positions > 1:
            found = keras.layers.Flatten(name=f"{self._dense.name}_flat{mark}")(found)
        return found
