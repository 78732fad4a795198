"""Sizes of networks that are counted without making them, against the Keras models."""

import math

import keras
import pytest
from outlines import without_weights

from tfunits import models
from tfunits.configs import MODELS, ModelConfig
from tfunits.configs.architectures import describe_architecture
from tfunits.thinning.cost import count_flops

VECTOR, SMALL, ODD, LARGE = (10,), (32, 32, 3), (45, 37, 3), (224, 224, 3)
CASES = [
    *[(name, {"size": size}, VECTOR) for name in ("mlp", "fc5") for size in (0.25, 3)],
    ("mlp", {"size": 1}, SMALL),
    *[(name, {"size": 0.25}, shape) for name in MODELS if name not in ("mlp", "fc5") for shape in (SMALL, ODD)],
    *[(name, {"size": 0.25}, LARGE) for name in ("resnet18", "resnet50", "inception_v3")],
    ("wide_resnet28", {"size": 2}, SMALL),
    *[(name, {"size": 0.5, "last_width": 24}, SMALL) for name in ("wide_resnet28", "densenet40", "resnet50")],
    ("inception_v3", {"size": 0.25, "layer_size": 0.5, "unscaled_branch": False}, SMALL),
    ("inception_v3", {"size": 0.25, "auxiliary_head": False}, SMALL),
]


@pytest.mark.parametrize(("name", "options", "shape"), CASES)
def test_sizes_are_those_of_the_keras_model(name, options, shape):
    num_classes = 2 if name == "fc5" else 7
    found = describe_architecture(ModelConfig(model=name, **options), shape, num_classes)
    with without_weights():
        model = models.build(name, input_shape=shape, num_classes=num_classes, **options)
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    made = sum(keras.ops.size(keras.ops.zeros(layer.output.shape[1:])) for layer in [*kernels, *norms])
    assert found.parameters == sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert found.flops == count_flops(model)
    assert found.num_layers == len(kernels)
    assert found.activations == int(made)


def test_seeds_and_scales_share_a_network():
    """Negative control beside: a width does not."""
    one = describe_architecture(ModelConfig(model="mlp", init_scale=3), VECTOR, 2)
    assert one is describe_architecture(ModelConfig(model="mlp"), VECTOR, 2)
    assert one != describe_architecture(ModelConfig(model="mlp", size=2), VECTOR, 2)


def test_a_users_network_is_not_described():
    with pytest.raises(ValueError, match="model: expected a network of the papers, received 'file:own.keras'"):
        describe_architecture(ModelConfig(model="file:own.keras"), VECTOR, 2)
