"""In which order units can go when the others take over what they did, and what it costs."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reader:
    """How one layer reads units.

    Attributes:
      numbers: of the units that it reads.
      covariance: of their activations [units, units].
      gram: products of their outgoing weights [units, units]: G = W W^T.
      is_joint: whether other units can take over; else each is read with weights of its own.
    """

    numbers: np.ndarray
    covariance: np.ndarray
    gram: np.ndarray
    is_joint: bool
    _inverses: dict[float, tuple[float, np.ndarray]] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def invert(self, ridge: float) -> tuple[float, np.ndarray]:
        """What the ridge adds to every variance, and the inverse of the covariance with it."""
        if ridge not in self._inverses:
            variances = np.diag(self.covariance)
            added = ridge * max(float(variances.mean()), np.finfo(float).tiny)
            whole = self.covariance if self.is_joint else np.diag(variances)
            self._inverses[ridge] = added, np.linalg.inv(whole + added * np.eye(len(variances)))
        return self._inverses[ridge]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elimination:
    """The order in which units of one group go.

    Attributes:
      numbers: of the units, the first to go first; the last one never goes.
      errors: share of the variance that readers receive which is lost once a unit and all before it are gone, added
        over readers.
    """

    numbers: np.ndarray
    errors: np.ndarray

    def count(self, threshold: float) -> int:
        """How many units can go before the error passes a threshold."""
        return int(np.searchsorted(self.errors, threshold, side="right"))


def eliminate(readers: Sequence[Reader], group: np.ndarray, ridge: float) -> Elimination:
    """Remove units one by one, always the one whose loss costs least, each folded into those that are left.

      cost_j = sum over readers of |w_j|^2 var(a_j | units left) / (variance that the reader receives)

    After each step weights and conditional variances are those of the smaller layer: w_i += gamma_i w_j with gamma the
    least squares fit of a_j. Units that are silent or constant, or linear functions of others, cost nothing; those that
    little depends on cost little.

    Args:
      readers: of the units; each may read others too, which then help and stay.
      group: numbers of the units that can go.
      ridge: of the mean variance, added to every unit's: what holds the fit of a unit to hundreds of others back.

    Returns: an `Elimination` of all but one.

    Source: Hassibi and Stork 1993 (Optimal brain surgeon), for units and their readers' inputs instead of weights.
    """
    states = [_State(reader, ridge) for reader in readers]
    left = list(group.tolist())
    order, errors, total = [], [], 0.0
    while len(left) > 1:
        costs = sum((state.costs(left) for state in states), np.zeros(len(left)))
        first = int(np.argmin(costs))
        total += float(max(costs[first], 0))
        order.append(left.pop(first))
        errors.append(total)
        for state in states:
            state.remove(order[-1])
    return Elimination(numbers=np.array(order, int), errors=np.array(errors))


class _State:
    """Conditional variances and weights of one reader's units while they go."""

    def __init__(self, reader: Reader, ridge: float) -> None:
        self._place = {number: place for place, number in enumerate(reader.numbers.tolist())}
        self._gram = reader.gram.astype(np.float64)
        self._received = max(float((self._gram * reader.covariance).sum()), np.finfo(float).tiny)
        self._is_joint = reader.is_joint
        self._ridge, inverse = reader.invert(ridge)
        self._precision = inverse.copy()

    def costs(self, numbers: list[int]) -> np.ndarray:
        """What each of some units would cost; 0 of those that this reader does not read."""
        places = np.array([self._place.get(number, -1) for number in numbers])
        read = np.maximum(places, 0)
        variance = 1 / self._precision[read, read] - self._ridge
        cost = np.diag(self._gram)[read] * np.maximum(variance, 0) / self._received
        return np.where(places < 0, 0, cost)

    def remove(self, number: int) -> None:
        """Fold a unit into the others."""
        place = self._place.get(number)
        if place is None:
            return
        column = self._precision[:, place].copy()
        if self._is_joint:
            gamma = -column / column[place]
            gamma[place] = 0
            weights = self._gram[:, place].copy()
            self._gram += np.outer(gamma, weights) + np.outer(weights, gamma)
            self._gram += np.outer(gamma, gamma) * weights[place]
        self._precision -= np.outer(column, column) / column[place]
        # Its own row stays out of the others' way.
        self._precision[place, place] = 1
        self._gram[place, :] = self._gram[:, place] = 0
