"""Whether a thin network predicts what the whole one does: scores, margins, and what they say of other examples."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import scipy.stats

from tfunits.measures.inputs import PROBABILITIES, last_activation
from tfunits.surgery import Graph
from tfunits.thinning.examples import Batch

# One-sided, of the agreement that a search asks for.
_CONFIDENCE = 0.95


def score_reader(model: keras.Model) -> Callable[[Batch], np.ndarray]:
    """A function from a batch to scores of its classes, float64 [batch, classes], largest at the predicted class.

    Probabilities become their logarithms, and one output the two scores (0, output).
    """
    graph = Graph(model)
    run = graph.compile_reader(graph.outputs)
    last, least = last_activation(graph), np.finfo(np.float64).tiny

    def read(batch: Batch) -> np.ndarray:
        scores = run(batch)[0].numpy().astype(np.float64)
        if last in PROBABILITIES and scores.shape[-1] == 1:
            scores = np.log(np.maximum(scores, least)) - np.log(np.maximum(1 - scores, least))
        elif last in (*PROBABILITIES, "softmax"):
            scores = np.log(np.maximum(scores, least))
        return scores if scores.shape[-1] > 1 else np.concatenate([np.zeros_like(scores), scores], axis=1)

    return read


def scores_of(model: keras.Model, batches: Iterable[Batch]) -> np.ndarray:
    """Scores of all examples, as `score_reader`."""
    return np.concatenate([*map(score_reader(model), batches)])


def margins_of(scores: np.ndarray, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Score of one class minus that of another, for every example; and which classes these are.

    Args:
      scores: [examples, classes].
      order: the two classes of every example [examples, 2]; the largest and the next of these scores if None.
    """
    if order is None:
        # Of equal scores the first, which is the class that is predicted.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(scores, order, axis=1).T
    return first - second, order


def agreement_bound(margin: np.ndarray, spread: float) -> float:
    """An estimate from below of the share of examples like these that keep their class.

      p_i = Phi(margin_i / s),   bound = mean p - 1.64 std p / sqrt(N)

    Counting the classes that stay knows nothing between two examples, and a network that a search has chosen by such a
    count looks better than it is. This is the lower end of a one-sided interval of 95 % if changes of margins are
    Gaussian with one spread; what a search has chosen may still fall a little below.

    Args:
      margin: of the network: score of the class that it predicts minus that of the class it holds next [examples].
      spread: s, the root mean square change of margins.

    Returns: at most 1; below 0 where examples are few. At least two are needed.
    """
    if spread == 0:
        return 1.0
    chances = scipy.stats.norm.cdf(margin / spread)
    return float(chances.mean() - scipy.stats.norm.ppf(_CONFIDENCE) * chances.std(ddof=1) / np.sqrt(len(chances)))
