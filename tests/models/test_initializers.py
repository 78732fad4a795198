"""Distributions of the initial weights against their formulas."""

import functools

import keras
import numpy as np
import pytest
from scipy import stats

from tfunits import models
from tfunits.configs.facts import INITIALIZERS, MODELS
from tfunits.models.initializers import TORCH_UNIFORM, UNTRUNCATED_HE_NORMAL, derive_seed, make_initializer

FAN_IN, FAN_OUT = 400, 600
# The standard deviation of a sample of n has a relative error of at most 1/sqrt(2n) (less for bounded distributions).
TOLERANCE = 5 / np.sqrt(2 * FAN_IN * FAN_OUT)
TRUNCATED_STD = stats.truncnorm(-2, 2).std()  # 0.8796
VARIANCES = {"glorot": 2 / (FAN_IN + FAN_OUT), "he": 2 / FAN_IN, "lecun": 1 / FAN_IN}
# name -> (standard deviation, largest magnitude)
EXPECTED = {
    **{f"{name}_normal": (v**0.5, 2 * v**0.5 / TRUNCATED_STD) for name, v in VARIANCES.items()},
    **{f"{name}_uniform": (v**0.5, (3 * v) ** 0.5) for name, v in VARIANCES.items()},
    "normal": (0.01, np.inf),
    "truncated_normal": (0.01 * TRUNCATED_STD, 0.02),
}
# Distributions of single networks.
EXPECTED_OF_NETWORKS = {
    UNTRUNCATED_HE_NORMAL: ((2 / FAN_IN) ** 0.5, np.inf),
    TORCH_UNIFORM: ((1 / 3 / FAN_IN) ** 0.5, FAN_IN**-0.5),
}
SHAPES = {"mlp": (10,), "fc5": (10,)}


def draw(name: str, shape: tuple[int, ...] = (FAN_IN, FAN_OUT), **options) -> np.ndarray:
    return np.asarray(make_initializer(name, **{"seed": 0, **options})(shape), "float64")


@functools.cache
def build(name: str, **options) -> keras.Model:
    shape = SHAPES.get(name, (16, 16, 3))
    return models.build(name, **{"size": 0.125, "input_shape": shape, "num_classes": 2, **options})


def kernels(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")}


def test_every_name_has_a_formula():
    assert set(EXPECTED) == set(INITIALIZERS)
    assert not set(EXPECTED_OF_NETWORKS) & set(INITIALIZERS)


@pytest.mark.parametrize("name", [*INITIALIZERS, *EXPECTED_OF_NETWORKS])
def test_standard_deviation_and_bound(name):
    values = draw(name)
    std, bound = (EXPECTED | EXPECTED_OF_NETWORKS)[name]
    assert values.std() == pytest.approx(std, rel=TOLERANCE)
    assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    # Filled up to the bound; without one, 240,000 normal numbers reach four standard deviations.
    assert np.abs(values).max() > min(0.99 * bound, 4 * std)


def test_the_tolerance_tells_a_corrected_from_an_uncorrected_truncation():
    """Negative control."""
    assert draw("truncated_normal", std=1.0).std() != pytest.approx(1.0, rel=TOLERANCE)
    assert draw("he_normal").std() != pytest.approx(EXPECTED["he_normal"][0] * TRUNCATED_STD, rel=TOLERANCE)


def test_the_fan_of_a_convolution_counts_its_window():
    values = draw("lecun_normal", (5, 5, 16, 32))
    assert values.std() == pytest.approx((1 / (5 * 5 * 16)) ** 0.5, rel=5 / np.sqrt(2 * values.size))


@pytest.mark.parametrize("name", [*INITIALIZERS, *EXPECTED_OF_NETWORKS])
def test_scale_multiplies_the_weights(name):
    values = draw(name, (8, 8))
    # Float32 rounding, of the largest number where a uniform distribution adds its lower end.
    np.testing.assert_allclose(draw(name, (8, 8), scale=10.0), 10 * values, rtol=1e-6, atol=1e-6 * np.abs(values).max())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="initializer: expected one of glorot_normal, .*, received 'zeros'"):
        make_initializer("zeros", seed=0)


def test_seeds_of_names_and_numbers_differ():
    seeds = {derive_seed(seed, name) for seed in range(50) for name in ("conv1", "conv2", "dropout/fc3")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(3, "conv1") == derive_seed(3, "conv1")


def test_biases_of_alexnet():
    model = build("alexnet")
    biases = {name: set(model.get_layer(name).bias.numpy()) for name in ("conv1", "conv2", "fc3", "fc4", "logits")}
    inner = {np.float32(0.1)}
    assert biases == {"conv1": {0}, "conv2": inner, "fc3": inner, "fc4": inner, "logits": {0}}


def test_the_mlp_starts_with_small_hidden_weights():
    """Truncated without correction: 0.8796 of 1e-3 in the hidden layer, of 1e-2 in the output layer."""
    model = build("mlp", size=4, input_shape=(1000,), num_classes=200)
    for name, std in (("hidden", 1e-3), ("logits", 1e-2)):
        values = model.get_layer(name).kernel.numpy()
        assert values.std() == pytest.approx(std * TRUNCATED_STD, rel=5 / np.sqrt(2 * values.size))
        assert np.abs(values).max() <= 2 * std * (1 + 1e-6)
        assert not model.get_layer(name).bias.numpy().any()


@pytest.mark.parametrize(
    ("model", "layer", "std"),
    [
        ("alexnet", "fc3", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ("fc5", "hidden2", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        ("resnet18", "stage4_block2_conv1", lambda fan_in, fan_out: (1 / fan_in) ** 0.5),
        ("resnet18", "logits", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ("resnet56", "stage3_block9_conv2", lambda fan_in, fan_out: (1 / fan_in) ** 0.5),
        ("resnet50", "stage2_block2_conv2", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        ("resnet50", "logits", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ("wide_resnet28", "stage3_block4_conv2", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        ("wide_resnet28", "logits", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        ("densenet40", "stage3_layer6_conv1", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        ("densenet40", "logits", lambda fan_in, fan_out: (1 / 3 / fan_in) ** 0.5),
        ("inception_v3", "conv4", lambda fan_in, fan_out: 0.1 * TRUNCATED_STD),
        ("inception_v3", "mixed_8x8x2048b_branch3_step3a", lambda fan_in, fan_out: 0.1 * TRUNCATED_STD),
        ("inception_v3", "auxiliary_conv1", lambda fan_in, fan_out: 0.1 * TRUNCATED_STD),
        ("inception_v3", "auxiliary_conv2", lambda fan_in, fan_out: 0.01 * TRUNCATED_STD),
        ("inception_v3", "auxiliary_logits", lambda fan_in, fan_out: 0.001 * TRUNCATED_STD),
        ("inception_v3", "logits", lambda fan_in, fan_out: 0.01 * TRUNCATED_STD),
    ],
)
def test_the_networks_own_distributions(model, layer, std):
    values = build(model, size=0.5).get_layer(layer).kernel.numpy()
    fan_in = np.prod(values.shape[:-1])
    fan_out = np.prod(values.shape[:-2]) * values.shape[-1]
    assert values.std() == pytest.approx(std(fan_in, fan_out), rel=5 / np.sqrt(2 * values.size))


@pytest.mark.parametrize(("name", "layer"), [("wide_resnet28", "stage3_block4_conv2"), ("densenet40", "transition2")])
def test_distributions_of_pytorch_are_not_truncated(name, layer):
    values = build(name, size=2).get_layer(layer).kernel.numpy()
    # Truncation ends at 2.27 standard deviations; of a thousand normal numbers ten lie beyond 2.6.
    assert np.abs(values).max() > 2.6 * values.std()


def test_factors_of_the_wide_resnet_start_uniformly():
    model = build("wide_resnet28", size=1, last_width=64)
    factors = {v.path: v.numpy() for v in model.trainable_variables if v.path.endswith("gamma")}
    assert len(factors) == 3 * 4 * 2 + 2
    joined = np.concatenate(list(factors.values()))
    assert 0 <= joined.min() < 0.02
    assert 0.98 < joined.max() < 1
    # The standard error of the mean of n uniform numbers is 1 / sqrt(12 n).
    assert joined.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * joined.size))
    assert len({tuple(values[:4]) for values in factors.values()}) == len(factors)
    for options, is_equal in (({"initializer": "lecun_normal", "init_scale": 2.0}, True), ({"seed": 1}, False)):
        other = build("wide_resnet28", size=1, last_width=64, **options)
        for variable in other.trainable_variables:
            if variable.path in factors:
                assert np.array_equal(variable.numpy(), factors[variable.path]) == is_equal


@pytest.mark.parametrize("name", [name for name, known in MODELS.items() if known.has_batch_norm])
def test_batch_normalisation_starts_as_the_identity(name):
    """But for the factors of the wide ResNet."""
    starts = {"beta": 0, "moving_mean": 0, "moving_variance": 1, "gamma": 1}
    for variable in build(name).variables:
        kind = variable.path.rpartition("/")[2]
        if kind in starts and (name, kind) != ("wide_resnet28", "gamma"):
            assert (variable.numpy() == starts[kind]).all(), variable.path


@pytest.mark.parametrize("name", models.BUILDERS)
def test_a_named_distribution_is_that_of_every_layer(name):
    for path, values in kernels(build(name, initializer="he_uniform")).items():
        bound = (6 / np.prod(values.shape[:-1])) ** 0.5
        largest = np.abs(values).max()
        # The largest of n uniform numbers stays below 1 - 10/n with probability e^-10.
        assert bound * (1 - 10 / values.size) < largest <= bound * (1 + 1e-6), path


@pytest.mark.parametrize("name", models.BUILDERS)
def test_init_scale_multiplies_every_kernel_and_nothing_else(name):
    scaled, plain = build(name, init_scale=10.0), build(name)
    for left, right in zip(scaled.variables, plain.variables, strict=True):
        factor = 10 if left.path.endswith("kernel") else 1
        expected = factor * right.numpy()
        np.testing.assert_allclose(left.numpy(), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", models.BUILDERS)
def test_equal_seeds_give_equal_weights_and_different_seeds_different_ones(name):
    first, again, other = (kernels(build(name, seed=seed)) for seed in (1, 1, 2))
    for path, values in first.items():
        np.testing.assert_array_equal(values, again[path])
        assert np.abs(values - other[path]).max() > 0, path


@pytest.mark.parametrize("name", models.BUILDERS)
def test_no_two_layers_start_alike(name):
    """Compared on the first numbers, so that layers of different shapes cannot share their draws either."""
    starts = [tuple(values.ravel()[:6] / values.std()) for values in kernels(build(name)).values()]
    assert len({tuple(np.round(start, 4)) for start in starts}) == len(starts)
