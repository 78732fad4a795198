"""What the workers of one training tell each other besides gradients."""

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# 256 MB a message; one of more than 2 GiB fails.
_CHUNK = 2**26


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Number of machines that a strategy trains on."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return 1
    return max(1, resolver.cluster_spec().num_tasks("worker"))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes results."""
    return num_workers(strategy) == 1 or strategy.cluster_resolver.task_id == 0


def is_lost_worker(error: tf.errors.OpError) -> bool:
    """Whether a training on several machines stopped because another worker is gone."""
    return isinstance(
        error,
        tf.errors.UnavailableError
        | tf.errors.AbortedError
        | tf.errors.CancelledError
        | tf.errors.DeadlineExceededError
        | tf.errors.InternalError,
    )


def broadcast(strategy: tf.distribute.Strategy, payload: bytes) -> bytes:
    """The chief's bytes, on every worker; every worker must call it.

    Args:
      strategy: of one machine or several.
      payload: on the chief, what to send; of the others it is not read.
    """
    if num_workers(strategy) == 1:
        return payload
    sending = is_chief(strategy)
    # In two words, since one of 32 bits ends at 2 GiB.
    high, low = _sum(strategy, np.array(divmod(len(payload), _CHUNK) if sending else (0, 0), np.int32)).tolist()
    length = high * _CHUNK + low
    words = np.zeros(-(-length // 4), np.int32)
    if sending:
        words.view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
    parts = [_sum(strategy, words[first : first + _CHUNK]) for first in range(0, len(words), _CHUNK)]
    return np.concatenate([words[:0], *parts]).tobytes()[:length]


def broadcast_json(strategy: tf.distribute.Strategy, value: Any) -> Any:
    """The chief's value, as `broadcast`; anything that JSON holds."""
    return json.loads(broadcast(strategy, json.dumps(value).encode()))


def _sum(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The sum over workers of an int32 array, in which all but the chief have zeros."""
    return _make_sum(strategy)(tf.constant(values)).numpy()


@functools.lru_cache(maxsize=1)
def _make_sum(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def add(words: tf.Tensor) -> tf.Tensor:
        def contribute() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # The chief's replicas hold the same words; one of them speaks.
            speaks = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.int32)
            return context.all_reduce("SUM", words * speaks)

        return strategy.experimental_local_results(strategy.run(contribute))[0]

    return add
