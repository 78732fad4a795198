"""Memory of compiled training steps."""

import contextlib
import gc
import weakref

import pytest
import tensorflow as tf

from tfunits import training


def compile_sum(strategy: tf.distribute.Strategy) -> weakref.ref:
    """The graph of a function that sums over replicas, of which nothing else is kept."""

    @tf.function
    def run(number: tf.Tensor) -> tf.Tensor:
        return strategy.run(lambda x: tf.distribute.get_replica_context().all_reduce("SUM", x), args=(number,))

    return weakref.ref(run.get_concrete_function(tf.constant(1.0)).graph)


@pytest.mark.parametrize("forgets", [True, False])
def test_graphs_that_sum_over_replicas_are_freed(forgets: bool) -> None:
    with training.forgetting_gradients() if forgets else contextlib.nullcontext():
        graph = compile_sum(training.make_strategy(1))
        gc.collect()
        assert graph() is not None
    gc.collect()
    assert (graph() is None) == forgets


def test_what_was_known_before_can_still_be_differentiated() -> None:
    @tf.custom_gradient
    def twice(x: tf.Tensor):
        return 2 * x, lambda upstream: 3 * upstream

    run = tf.function(twice).get_concrete_function(tf.TensorSpec([]))
    with training.forgetting_gradients():
        tf.function(twice)(tf.constant(1.0))
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(1.0))
        y = run(x)
    assert tape.gradient(y, x) == 3
