"""The papers' networks in plain NumPy, float64, written from their description and not from the package's code.

Every forward pass takes {variable path: array} and inputs [batch, ...], and gives the logits; Inception-v3's gives the
logits and the auxiliary logits. A keyword changes one detail of the description, for negative controls.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Weights = Mapping[str, np.ndarray]
Padding = tuple[int, int]


def same(size: int, window: int, stride: int) -> Padding:
    """TensorFlow's SAME: outputs ceil(size / stride), the odd pixel of padding behind."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def patches(
    x: np.ndarray, window: tuple[int, int], stride: int, padding: Padding | None, fill: float = 0.0
) -> np.ndarray:
    """Windows [batch, rows, columns, channels, *window] of padded images; SAME padding if none is given."""
    sides = [same(x.shape[axis], window[axis - 1], stride) if padding is None else padding for axis in (1, 2)]
    padded = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, window, axis=(1, 2))[:, ::stride, ::stride]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: Padding | None = None) -> np.ndarray:
    """Cross-correlation with a kernel [height, width, in, out]; SAME padding if none is given."""
    return np.tensordot(patches(x, kernel.shape[:2], stride, padding), kernel, axes=((3, 4, 5), (2, 0, 1)))


def max_pool(x: np.ndarray, padding: Padding | None = None) -> np.ndarray:
    """Largest of 3x3, every second pixel; SAME padding if none is given."""
    return patches(x, (3, 3), 2, padding, fill=-np.inf).max(axis=(-1, -2))


def mean_pool(
    x: np.ndarray, window: int, stride: int, padding: Padding | None = None, *, counts_padding: bool = False
) -> np.ndarray:
    """Mean of the pixels of a window that lie inside the image; SAME padding if none is given."""
    total = patches(x, (window, window), stride, padding).sum(axis=(-1, -2))
    inside = patches(np.ones_like(x), (window, window), stride, padding).sum(axis=(-1, -2))
    return total / (window**2 if counts_padding else inside)


def normalize_responses(x: np.ndarray, alpha: float) -> np.ndarray:
    """x / (1 + alpha * energy of five neighbouring channels)^0.75."""
    channels = x.shape[-1]
    energy = np.stack([(x[..., max(0, c - 2) : c + 3] ** 2).sum(axis=-1) for c in range(channels)], axis=-1)
    return x / (1 + alpha * energy) ** 0.75


def normalize_batch(weights: Weights, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, with the moving statistics; gamma is 1 if missing."""
    beta, mean, variance = (weights[f"{name}_bn/{part}"] for part in ("beta", "moving_mean", "moving_variance"))
    return weights.get(f"{name}_bn/gamma", 1.0) * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def dense(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def mlp(weights: Weights, x: np.ndarray) -> np.ndarray:
    return dense(weights, "logits", relu(dense(weights, "hidden", x.reshape(len(x), -1))))


def fc5(weights: Weights, x: np.ndarray) -> np.ndarray:
    for name in ("hidden1", "hidden2", "hidden3", "hidden4"):
        x = relu(dense(weights, name, x))
    return dense(weights, "output", x)


def alexnet(weights: Weights, x: np.ndarray, *, alpha: float = 2e-5, pool_padding: Padding | None = None) -> np.ndarray:
    for name in ("conv1", "conv2"):
        x = relu(convolve(x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"])
        x = normalize_responses(max_pool(x, pool_padding), alpha)
    x = x.reshape(len(x), -1)
    for name in ("fc3", "fc4"):
        x = relu(dense(weights, name, x))
    return dense(weights, "logits", x)


def residual_unit(weights: Weights, *, fixed_padding: bool, epsilon: float) -> Callable:
    """Convolution and batch normalisation; strided ones pad (k - 1) pixels, split low and high."""

    def unit(name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        kernel = weights[f"{name}/kernel"]
        total = len(kernel) - 1
        explicit = (total // 2, total - total // 2) if stride > 1 and fixed_padding else None
        return normalize_batch(weights, name, convolve(x, kernel, stride, explicit), epsilon)

    return unit


def basic_stages(unit: Callable, x: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            shortcut = unit(f"{name}_shortcut", x, stride) if block == 1 else x
            x = relu(unit(f"{name}_conv2", relu(unit(f"{name}_conv1", x, stride))) + shortcut)
    return x


def resnet18(weights: Weights, x: np.ndarray, *, fixed_padding: bool = True, epsilon: float = 1e-5) -> np.ndarray:
    unit = residual_unit(weights, fixed_padding=fixed_padding, epsilon=epsilon)
    x = basic_stages(unit, max_pool(relu(unit("stem", x, 2))), (2, 2, 2, 2))
    return dense(weights, "logits", x.mean(axis=(1, 2)))


def resnet56(
    weights: Weights, x: np.ndarray, *, fixed_padding: bool = True, epsilon: float = 1e-5, pooled_stem: bool = False
) -> np.ndarray:
    unit = residual_unit(weights, fixed_padding=fixed_padding, epsilon=epsilon)
    x = relu(unit("stem", x))
    x = basic_stages(unit, max_pool(x) if pooled_stem else x, (9, 9, 9))
    return dense(weights, "logits", x.mean(axis=(1, 2)))


def resnet50(
    weights: Weights,
    x: np.ndarray,
    *,
    strided_3x3: bool = False,
    epsilon: float = 1e-5,
    rectified_branch: bool = False,
    fixed_padding: bool = True,
    pool_padding: Padding | None = None,
) -> np.ndarray:
    unit = residual_unit(weights, fixed_padding=fixed_padding, epsilon=epsilon)
    x = max_pool(relu(unit("stem", x, 2)), pool_padding)
    for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(1, count + 1):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            first, second = (1, stride) if strided_3x3 else (stride, 1)
            branch = relu(unit(f"{name}_conv1", x, first))
            branch = relu(unit(f"{name}_conv2", branch, second))
            branch = unit(f"{name}_conv3", branch)
            if block == 1:
                x = unit(f"{name}_shortcut", x, stride)
            x = relu((relu(branch) if rectified_branch else branch) + x)
    if "last/kernel" in weights:
        x = unit("last", x)
    return dense(weights, "logits", x.mean(axis=(1, 2)))


def wide_resnet28(
    weights: Weights,
    x: np.ndarray,
    *,
    same_padding: bool = False,
    last_relu: bool = False,
    activated_shortcut: bool = False,
    epsilon: float = 1e-5,
) -> np.ndarray:
    def pad1(name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        return convolve(x, weights[f"{name}/kernel"], stride, None if same_padding else (1, 1))

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return normalize_batch(weights, name, x, epsilon)

    x = pad1("tap_stem", x)
    for stage in (1, 2, 3):
        for block in (1, 2, 3, 4):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            active = relu(norm(f"{name}_conv1", x))
            raw = active if activated_shortcut else x
            if f"{name}_shortcut/kernel" in weights:
                raw = np.einsum("bijc,co->bijo", raw[:, ::stride, ::stride], weights[f"{name}_shortcut/kernel"][0, 0])
            active = relu(norm(f"{name}_conv2", pad1(f"{name}_conv1", active, stride)))
            x = raw + pad1(f"{name}_conv2", active)
    x = norm("final", x)
    x = relu(x) if last_relu else x
    if "last/kernel" in weights:
        x = norm("last", convolve(x, weights["last/kernel"]))
    return dense(weights, "logits", x.mean(axis=(1, 2)))


def densenet40(
    weights: Weights,
    x: np.ndarray,
    *,
    new_first: bool = False,
    last_relu: bool = False,
    max_pooled: bool = False,
    epsilon: float = 1e-5,
) -> np.ndarray:
    def active(name: str, x: np.ndarray) -> np.ndarray:
        return relu(normalize_batch(weights, name, x, epsilon))

    def plain(name: str, x: np.ndarray) -> np.ndarray:
        return convolve(x, weights[f"{name}/kernel"])

    x = active("stem", plain("stem", x))
    for stage in (1, 2, 3):
        if stage > 1:
            name = f"transition{stage - 1}"
            x = plain(name, active(name, x))
            x = patches(x, (2, 2), 2, (0, 0))
            x = x.max(axis=(-1, -2)) if max_pooled else x.mean(axis=(-1, -2))
        for layer in range(1, 7):
            name = f"stage{stage}_layer{layer}"
            new = plain(f"{name}_conv1", active(f"{name}_conv1", x))
            new = plain(f"{name}_conv2", active(f"{name}_conv2", new))
            x = np.concatenate([new, x] if new_first else [x, new], axis=-1)
    x = normalize_batch(weights, "final", x, epsilon)
    x = relu(x) if last_relu else x
    if "last/kernel" in weights:
        x = normalize_batch(weights, "last", plain("last", x), epsilon)
    return dense(weights, "logits", x.mean(axis=(1, 2)))


def inception_v3(
    weights: Weights,
    x: np.ndarray,
    *,
    counts_padding: bool = False,
    pool_first: bool = False,
    epsilon: float = 1e-3,
    smallest_unpadded: int = 75,
    max_pooled_branch: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    unpadded = (0, 0) if x.shape[1] >= smallest_unpadded else None

    def unit(name: str, x: np.ndarray, height: int, width: int, stride: int = 1, padding: Padding | None = None):
        kernel = weights[f"{name}/kernel"]
        assert kernel.shape[:2] == (height, width), name
        return relu(normalize_batch(weights, name, convolve(x, kernel, stride, padding), epsilon))

    def average(x: np.ndarray) -> np.ndarray:
        # The window of the branches behind pooling moves by one pixel.
        if max_pooled_branch:
            return patches(x, (3, 3), 1, None, fill=-np.inf).max(axis=(-1, -2))
        return mean_pool(x, 3, 1, counts_padding=counts_padding)

    def chain(name: str, branch: int, x: np.ndarray, *windows: tuple[int, int], start: int = 1) -> np.ndarray:
        for step, window in enumerate(windows, start=start):
            x = unit(f"{name}_branch{branch}_step{step}", x, *window)
        return x

    def block_35(name: str, x: np.ndarray) -> np.ndarray:
        return np.concatenate([
            chain(name, 1, x, (1, 1)),
            chain(name, 2, x, (1, 1), (5, 5)),
            chain(name, 3, x, (1, 1), (3, 3), (3, 3)),
            chain(name, 4, average(x), (1, 1), start=2),
        ], axis=-1)  # fmt: skip

    def block_17(name: str, x: np.ndarray) -> np.ndarray:
        return np.concatenate([
            chain(name, 1, x, (1, 1)),
            chain(name, 2, x, (1, 1), (1, 7), (7, 1)),
            chain(name, 3, x, (1, 1), (7, 1), (1, 7), (7, 1), (1, 7)),
            chain(name, 4, average(x), (1, 1), start=2),
        ], axis=-1)  # fmt: skip

    def fork(name: str, x: np.ndarray) -> np.ndarray:
        return np.concatenate([unit(f"{name}a", x, 1, 3), unit(f"{name}b", x, 3, 1)], axis=-1)

    def block_8(name: str, x: np.ndarray) -> np.ndarray:
        return np.concatenate([
            chain(name, 1, x, (1, 1)),
            fork(f"{name}_branch2_step2", chain(name, 2, x, (1, 1))),
            fork(f"{name}_branch3_step3", chain(name, 3, x, (1, 1), (3, 3))),
            chain(name, 4, average(x), (1, 1), start=2),
        ], axis=-1)  # fmt: skip

    def reduction(*branches: np.ndarray) -> np.ndarray:
        return np.concatenate(branches[::-1] if pool_first else branches, axis=-1)

    x = unit("conv0", x, 3, 3, 2, unpadded)
    x = unit("conv1", x, 3, 3, 1, unpadded)
    x = max_pool(unit("conv2", x, 3, 3), unpadded)
    x = unit("conv3", x, 1, 1)
    x = max_pool(unit("conv4", x, 3, 3, 1, unpadded), unpadded)
    for name in ("mixed_35x35x256a", "mixed_35x35x288a", "mixed_35x35x288b"):
        x = block_35(name, x)
    name = "mixed_17x17x768a"
    x = reduction(
        unit(f"{name}_branch1_step1", x, 3, 3, 2, unpadded),
        unit(f"{name}_branch2_step3", chain(name, 2, x, (1, 1), (3, 3)), 3, 3, 2, unpadded),
        max_pool(x, unpadded),
    )
    for letter in "bcde":
        x = block_17(f"mixed_17x17x768{letter}", x)

    # Five pixels of 5x5 means and a 5x5 convolution, where they fit.
    side = x.shape[1]
    a = mean_pool(x, 5, 3, unpadded if side >= 5 else None, counts_padding=counts_padding)
    a = unit("auxiliary_conv1", a, 1, 1)
    a = unit("auxiliary_conv2", a, 5, 5, 1, unpadded if a.shape[1] >= 5 else None)
    auxiliary = dense(weights, "auxiliary_logits", a.mean(axis=(1, 2)))

    name = "mixed_17x17x1280a"
    x = reduction(
        unit(f"{name}_branch1_step2", chain(name, 1, x, (1, 1)), 3, 3, 2, unpadded),
        unit(f"{name}_branch2_step4", chain(name, 2, x, (1, 1), (1, 7), (7, 1)), 3, 3, 2, unpadded),
        max_pool(x, unpadded),
    )
    for name in ("mixed_8x8x2048a", "mixed_8x8x2048b"):
        x = block_8(name, x)
    return dense(weights, "logits", x.mean(axis=(1, 2))), auxiliary
