"""What several networks of one kind do together: their errors as ensembles, their bias and their variance."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

AVERAGES = ("logits", "probabilities")
LOSSES = ("squared", "cross_entropy")
# Values worked on at once: 32 MB in float64, and a few copies.
_BLOCK_VALUES = 2**22


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiasVariance:
    """Mean loss of networks of one kind, in two parts.

    Attributes:
      bias: loss of the mean network (squared loss: the squared bias, without bias itself, so that noise may take it
        below 0).
      variance: what the networks lose by differing from it.
    """

    bias: float
    variance: float

    @property
    def loss(self) -> float:
        """Mean loss of a single network."""
        return self.bias + self.variance


def average_outputs(outputs: np.ndarray, average: str = "logits") -> np.ndarray:
    """Outputs of the ensemble of all networks.

      mean_k f_k     or     mean_k softmax(f_k)

    Args:
      outputs: [networks, examples, classes]; one class: a score whose sign is the class.
      average: "logits" or "probabilities". Scores are averaged as they are, whichever it is.

    Returns: float64 [examples, classes].

    Raises:
      ValueError: another shape, outputs that are not finite, or another average.

    Example:
      >>> average_outputs(np.array([[[0.0, 2.0]], [[4.0, 0.0]]]))
      array([[2., 1.]])

    Source: Doimo et al. 2022, section 3 (error_inf), without saying what is averaged; logits as in Geiger et al. 2020.
    """
    outputs = _check_outputs(outputs, average)
    return np.concatenate([_members(outputs[:, part], average).mean(axis=0) for part in _parts(outputs)])


def ensemble_wrong(outputs: np.ndarray, labels: np.ndarray, *, average: str = "logits") -> np.ndarray:
    """Whether the ensemble of all networks is wrong about each example, bool [examples].

    Args:
      outputs, average: as of `average_outputs`.
      labels: class of every example, [examples]; of a single score 0 (not positive) or 1.

    Raises:
      ValueError: as `average_outputs`; labels that are not these classes.

    Example:
      >>> ensemble_wrong(np.array([[[0.0, 2.0]], [[4.0, 0.0]]]), [0])
      array([False])
    """
    outputs = _check_outputs(outputs, average)
    return _predict(average_outputs(outputs, average)) != _check_labels(outputs, labels)


def ensemble_errors(
    outputs: np.ndarray, labels: np.ndarray, *, average: str = "logits", num_subsets: int = 20, seed: int = 0
) -> np.ndarray:
    """Error of ensembles of 1, 2, ..., K networks, averaged over subsets of them; the last is error_inf.

    Args:
      outputs, labels, average: as of `ensemble_wrong`.
      num_subsets: different random subsets of every size; where there are no more than so many, all are taken.
      seed: of the subsets.

    Returns: share of wrong predictions, float64 [networks], in [0, 1].

    Raises:
      ValueError: as `ensemble_wrong`; no subset.

    Example:
      >>> ensemble_errors(np.array([[[0.0, 2.0]], [[4.0, 0.0]]]), [0])
      array([0.5, 0. ])

    Source: Doimo et al. 2022, figure 3 (error_inf, the error of an ensemble of 20 networks).
    """
    if num_subsets < 1:
        raise ValueError(f"num_subsets: expected 1 or more, received {num_subsets}")
    outputs = _check_outputs(outputs, average)
    labels = _check_labels(outputs, labels)
    subsets = list(_subsets(len(outputs), num_subsets, np.random.default_rng(seed)))
    num_wrong = np.zeros(len(subsets))
    for part in _parts(outputs):
        members = _members(outputs[:, part], average)
        for i, subset in enumerate(subsets):
            num_wrong[i] += np.sum(_predict(members[list(subset)].mean(axis=0)) != labels[part])
    sizes = np.array([len(subset) for subset in subsets])
    return np.bincount(sizes, weights=num_wrong)[1:] / np.bincount(sizes)[1:] / len(labels)


def bias_variance(outputs: np.ndarray, labels: np.ndarray, loss: str = "squared") -> BiasVariance:
    """Bias and variance of the loss of networks of one kind, means over examples.

      squared:        variance = sum_k |p_k - mean p|^2 / (K - 1)       bias = |y - mean p|^2 - variance / K
      cross_entropy:  variance = mean_k KL(q || p_k) = -log(sum_c exp(mean_k log p_kc))
                      bias = -log q_y,     q the normalised exp(mean_k log p_k)

    with p = softmax of the outputs and y the label's one-hot vector; for a single score p is the score, y -1 or +1.
    Either way bias + variance is the mean loss of the K networks. The squared loss's parts are unbiased for any K; the
    cross-entropy's are not: few networks give too little variance and too much bias.

    Args:
      outputs: logits or scores, [networks, examples, classes], of at least two networks.
      labels: class of every example, [examples]; of a single score 0 or 1.
      loss: "squared" or "cross_entropy".

    Returns: a `BiasVariance`; the squared loss is summed over classes, the cross-entropy in nats.

    Raises:
      ValueError: fewer than two networks, another loss, the cross-entropy of a single score; otherwise as
        `ensemble_wrong`.

    Example:
      >>> found = bias_variance(np.array([[[3.0]], [[1.0]]]), [1])
      >>> found.bias, found.variance, found.loss
      (0.0, 2.0, 2.0)

    Source: Yang et al. 2020, sections 2 and 3 and appendix (the Kullback-Leibler form and the unbiased variance).
    Differs: they split the training data between networks, so that their variance is also that of the data; here it is
      that of whatever the networks differ in.
    """
    outputs = _check_outputs(outputs, "logits")
    labels = _check_labels(outputs, labels)
    num_networks, num_examples, num_classes = outputs.shape
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {LOSSES}, received {loss!r}")
    if num_networks < 2:
        raise ValueError(f"outputs: expected at least two networks, received {num_networks}; train more seeds")
    if loss == "cross_entropy" and num_classes == 1:
        raise ValueError("loss: expected 'squared' of networks with one output, received 'cross_entropy'")
    split = _squared if loss == "squared" else _cross_entropy
    totals = sum(split(outputs[:, part], labels[part]) for part in _parts(outputs))
    bias, variance = totals / num_examples
    return BiasVariance(bias=float(bias), variance=float(variance))


def bootstrap_variance(outputs: np.ndarray, *, num_samples: int = 1000, seed: int = 0) -> np.ndarray:
    """The squared loss's variance of bootstrap samples of the networks.

      variance = K / (K - 1) (sum_k c_k G_kk - sum_kl c_k c_l G_kl / K) / (K - 1),   G_kl = mean over x of p_k . p_l

    The first factor makes up for what networks that are drawn twice leave out: without it samples of few networks would
    be smaller than those of many, and ensembles of different sizes could not be compared.

    Args:
      outputs: as of `bias_variance`; a sample draws network k of the K c_k times.
      num_samples: of the bootstrap.
      seed: of the samples.

    Returns: float64 [samples]; whatever K, they lie around the variance.

    Raises:
      ValueError: as `bias_variance`.

    Example:
      >>> bootstrap_variance(np.array([[[3.0]], [[1.0]]]), num_samples=4)
      array([0., 4., 0., 0.])

    Source: Yang et al. 2020, section 2 (the variance); Efron and Tibshirani 1993, chapter 6.
    """
    outputs = _check_outputs(outputs, "logits")
    count = len(outputs)
    if count < 2:
        raise ValueError(f"outputs: expected at least two networks, received {count}; train more seeds")
    products = np.zeros((count, count))
    for part in _parts(outputs):
        flat = _members(outputs[:, part], "probabilities").reshape(count, -1)
        products += flat @ flat.T
    products /= outputs.shape[1]
    # About any one network, so that variances that are small beside the outputs are not lost in rounding.
    products = products - products[:1] - products[:, :1] + products[0, 0]
    draws = np.random.default_rng(seed).integers(count, size=(num_samples, count))
    drawn = np.stack([np.bincount(draw, minlength=count) for draw in draws]).astype(np.float64)
    together = np.einsum("sk,kl,sl->s", drawn, products, drawn)
    return np.clip(count / (count - 1) ** 2 * (drawn @ np.diag(products) - together / count), 0, None)


def _squared(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Bias and variance of the squared loss, summed over examples, float64 [2]."""
    num_networks, _, num_classes = outputs.shape
    predictions = _members(outputs, "probabilities")
    targets = 2 * labels[:, None] - 1 if num_classes == 1 else np.eye(num_classes)[labels]
    mean = predictions.mean(axis=0)
    variance = np.sum((predictions - mean) ** 2) / (num_networks - 1)
    return np.array([np.sum((targets - mean) ** 2) - variance / num_networks, variance])


def _cross_entropy(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Bias and variance of the cross-entropy, summed over examples, float64 [2]."""
    mean_logs = log_softmax(np.asarray(outputs, np.float64), axis=-1).mean(axis=0)
    log_norms = logsumexp(mean_logs, axis=-1)
    right = np.take_along_axis(mean_logs, labels[:, None], axis=-1)[:, 0]
    return np.array([np.sum(log_norms - right), -np.sum(log_norms)])


def _subsets(num_networks: int, num_subsets: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Different subsets of every size from 1 to all networks, sorted."""
    for size in range(1, num_networks + 1):
        if math.comb(num_networks, size) <= num_subsets:
            yield from itertools.combinations(range(num_networks), size)
        else:
            chosen = set()
            while len(chosen) < num_subsets:
                chosen.add(tuple(sorted(generator.choice(num_networks, size, replace=False))))
            yield from sorted(chosen)


def _members(outputs: np.ndarray, average: str) -> np.ndarray:
    """What an ensemble averages, float64 [networks, examples, classes]."""
    outputs = np.asarray(outputs, np.float64)
    return softmax(outputs, axis=-1) if average == "probabilities" and outputs.shape[-1] > 1 else outputs


def _predict(outputs: np.ndarray) -> np.ndarray:
    """The class of outputs [..., classes], int64 [...]; of a single score 1 where it is positive."""
    return (outputs[..., 0] > 0).astype(np.int64) if outputs.shape[-1] == 1 else outputs.argmax(axis=-1)


def _parts(outputs: np.ndarray) -> Iterator[slice]:
    """Slices of the examples, so few at a time that float64 copies of their outputs stay small."""
    num_networks, num_examples, num_classes = outputs.shape
    step = max(1, _BLOCK_VALUES // (num_networks * num_classes))
    return (slice(start, start + step) for start in range(0, num_examples, step))


def _check_outputs(outputs: np.ndarray, average: str) -> np.ndarray:
    if average not in AVERAGES:
        raise ValueError(f"average: expected one of {AVERAGES}, received {average!r}")
    outputs = np.asarray(outputs)
    if outputs.ndim != 3 or not outputs.size:
        raise ValueError(f"outputs: expected shape [networks, examples, classes], received {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise ValueError("outputs: expected finite values, received NaN or infinity; leave networks out that diverged")
    return outputs


def _check_labels(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    num_classes = max(2, outputs.shape[-1])
    if labels.shape != outputs.shape[1:2]:
        raise ValueError(f"labels: expected shape {outputs.shape[1:2]} as examples of outputs, received {labels.shape}")
    if not np.isin(labels, range(num_classes)).all():
        raise ValueError(f"labels: expected classes from 0 to {num_classes - 1}, received {np.unique(labels)}")
    return labels.astype(np.int64)
