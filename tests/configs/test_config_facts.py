"""Widths by arithmetic, against numbers of the papers worked out by hand."""

import pytest

from tfunits.configs import DATASETS, MODELS, UserError, find_dataset

INCEPTION_TAPS = (
    "conv0", "conv1", "conv2", "conv3", "conv4", "mixed_35x35x256a", "mixed_35x35x288a", "mixed_35x35x288b",
    "mixed_17x17x768a", "mixed_17x17x768b", "mixed_17x17x768c", "mixed_17x17x768d", "mixed_17x17x768e",
    "mixed_17x17x1280a", "mixed_8x8x2048a", "mixed_8x8x2048b",
)  # fmt: skip
# (network, size) -> units of its taps in order, from FACTS 1, 2 and 14.1.
WIDTHS = {
    ("alexnet", 0.25): (24, 64, 96, 48),
    ("alexnet", 1): (96, 256, 384, 192),
    ("alexnet", 4): (384, 1024, 1536, 768),
    ("alexnet", 0.7): (67, 179, 268, 134),
    # Stem, then c + 6 c/2, half of it + 6 c/2, half of that + 6 c/2 = 5.5 c.
    ("densenet40", 1): (16, 64, 80, 88, 88),
    ("densenet40", 2): (32, 128, 160, 176, 176),
    ("densenet40", 4): (64, 256, 320, 352, 352),
    ("densenet40", 8): (128, 512, 640, 704, 704),
    ("densenet40", 16): (256, 1024, 1280, 1408, 1408),
    ("densenet40", 0.3): (4, 16, 21, 24, 24),
    ("fc5", 1 / 16): (8, 8, 8, 8),
    ("fc5", 4): (512, 512, 512, 512),
    # The pool branch of 768d keeps its 192 filters.
    ("inception_v3", 0.25): (8, 8, 16, 20, 48, 64, 72, 72, 192, 192, 192, 336, 192, 320, 512, 512),
    ("inception_v3", 0.5): (16, 16, 32, 40, 96, 128, 144, 144, 384, 384, 384, 480, 384, 640, 1024, 1024),
    ("inception_v3", 1): (32, 32, 64, 80, 192, 256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048),
    ("mlp", 0.25): (32,),
    ("mlp", 4): (512,),
    ("resnet18", 0.25): (16, 16, 32, 64, 128),
    ("resnet18", 1): (64, 64, 128, 256, 512),
    ("resnet18", 4): (256, 256, 512, 1024, 2048),
    # The stem is the same at every size.
    ("resnet50", 0.25): (64, 64, 128, 256, 512, 512),
    ("resnet50", 1): (64, 256, 512, 1024, 2048, 2048),
    ("resnet50", 4): (64, 1024, 2048, 4096, 8192, 8192),
    ("resnet56", 0.25): (4, 4, 8, 16),
    ("resnet56", 1): (16, 16, 32, 64),
    ("resnet56", 4): (64, 64, 128, 256),
    # Below 1 the stem is thinner and nothing is widened.
    ("wide_resnet28", 0.25): (4, 4, 8, 16, 16),
    ("wide_resnet28", 0.5): (8, 8, 16, 32, 32),
    ("wide_resnet28", 1): (16, 16, 32, 64, 64),
    ("wide_resnet28", 8): (16, 128, 256, 512, 512),
}


@pytest.mark.parametrize(("model", "size"), WIDTHS)
def test_units_of_every_tap(model: str, size: float) -> None:
    known = MODELS[model]
    assert tuple(known.tap_width(tap, size) for tap in known.base_widths) == WIDTHS[model, size]


def test_every_network_has_widths_worked_out_by_hand() -> None:
    assert {model for model, _ in WIDTHS} == set(MODELS)
    assert tuple(MODELS["inception_v3"].base_widths) == INCEPTION_TAPS


@pytest.mark.parametrize(
    ("model", "narrowest"),
    [
        ("alexnet", 96), ("densenet40", 8), ("fc5", 128), ("inception_v3", 32), ("mlp", 128), ("resnet18", 64),
        ("resnet50", 64), ("resnet56", 16), ("wide_resnet28", 16),
    ],
)  # fmt: skip
def test_the_smallest_size_is_one_unit_in_the_narrowest_layer(model: str, narrowest: int) -> None:
    """The growth of densenet40 and the first bottleneck of resnet50 are no taps."""
    assert MODELS[model].smallest_size == 1 / narrowest


def test_only_some_networks_have_options_beside_the_size() -> None:
    assert {model: known.options for model, known in MODELS.items() if known.options} == {
        "densenet40": ("last_width",),
        "inception_v3": ("layer_size", "auxiliary_head", "unscaled_branch"),
        "resnet50": ("last_width",),
        "wide_resnet28": ("last_width",),
    }


@pytest.mark.parametrize(
    ("dataset", "images", "classes"),
    [
        ("cifar10", (50_000, 10_000), 10),
        ("cifar100", (50_000, 10_000), 100),
        ("mnist", (60_000, 10_000), 10),
        ("mnist_parity", (60_000, 10_000), 2),
        ("imagenet2012", (1_281_167, 50_000), 1000),
    ],
)
def test_numbers_of_prepared_data_are_those_of_their_makers(dataset: str, images: tuple, classes: int) -> None:
    known = DATASETS[dataset]
    assert (known.num_train + known.num_validation, known.num_test) == images
    assert known.num_classes == classes
    assert not known.embedded


def test_an_unknown_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        find_dataset("cifar")
    assert str(caught.value) == (
        "--dataset=cifar: expected one of digits, digits_parity, uncorrelated10, uncorrelated10000, cifar10, cifar100, "
        "mnist, mnist_parity, imagenet2012, or folder:PATH"
    )
