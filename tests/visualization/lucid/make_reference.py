"""Numbers of Lucid 0.3.10 itself, for tests of our feature visualization: writes `reference.npz` next to this file.

    python tests/visualization/lucid/make_reference.py

Lucid goes without its dependencies into a temporary folder; a child process imports it, with TensorFlow's version 1
interface in place of `tensorflow`. Stand-ins, only while Lucid is imported: an empty `tensorflow.contrib` (its
`param.cppn`, which nothing here uses, asks for `slim`), an empty `future.standard_library.install_aliases` (for
Python 2) and a `lucid.misc.io.show` that is never called (the real one needs IPython); `tf.contrib.image.rotate`, which
TensorFlow 2 lacks, is `contrib_rotate` below. The package `decorator` is the real one. Random numbers are seeded: two
runs on one machine give the same bytes. Nothing in the arrays is Lucid's code.

Images are [batch, height, width, channels]; "HxWxC" in a name is their size; floats are float32.

Start images (`SEED` goes to `np.random.seed` before each; the batch is 2, the standard deviation Lucid's default):
  fft_HxWxC_spectrum, fft_HxWxC_image   `fft_image`: its variable [2 (real, imaginary), batch, channels, fh, fw], result
  fft_12x15x3_decay2_spectrum, ..._image   the same with decay_power=2
  freqs_HxW                             `rfft2d_freqs(H, W)`
  laplacian_HxWxC_level0, ..._image     `laplacian_pyramid_image`: its variables, level k of H // 2^k x W // 2^k; result
  resize_input, resize_output           `resize_bilinear_nd` of a larger enlargement
  pixel_16x16x3_image                   `pixel_image`: its start
  image_CASE_variable, ..._image        `image(...)`; CASE and the arguments are in `IMAGES`; image_gray: through
                                        `grayscale_image_rgb`

Colours:
  color_matrix, color_matrix_normalized, color_mean   the constants of `param.color`
  rgb_input, rgb_incoming               input of `to_valid_rgb`, and a gradient with respect to its result
  rgb_D_S_output, rgb_D_S_gradient      result and gradient; D: plain or decorrelated; S: sigmoid or clipped

Transformations:
  pad_input, pad_constant, pad_reflect  `pad(3, "constant", .5)`, `pad(3)`
  scales                                the list in `standard_transforms`; K below counts in it
  scale_input, scale_output_K           `random_scale([scales[K]])` of [1, 17, 20, 1]
  scale_sizes_40x41                     [K, 2]: its sizes of a 40x41 image
  scale_sizes                           [K, 255]: its sizes of images of 2, 3, ..., 256 pixels squared
  angles                                the list in `standard_transforms`, degrees
  angles_radians                        what `random_rotate` makes of them
  standard_pad, standard_jitters        width and value of the padding; the two widths of the jitter
  rotate_angles, rotate_input           degrees; an image [1, 17, 20, 1] of different whole numbers, none of them 0
  rotate_output, rotate_gradient        [angles, 1, 17, 20, 1]: `random_rotate([angle])` with `contrib_rotate`, and the
                                        gradient with respect to the input of the sum of rotate_input * output
  jitter_input                          [2, 11, 16, 1], all pixels different
  jitter_D_output                       [draws, 2, 11 - D, 16 - D, 1]: `jitter(D)`
  jitter_D_offsets                      [draws, 2]: row and column of the first pixel, of more draws

Optimization:
  adam_start, adam_gradients, adam_values    [n], [steps, n], [steps, n]: `AdamOptimizer(0.05)`, the values after a step
  relu_steps                                 values of the global step
  R_input, R_incoming, R_gradients           R: relu or relu6; input and incoming gradient, [4, 2, 3]: an entry all dead
                                             with both signs of gradient, one partly dead, one wholly alive, one whose
                                             live gradients are all 0; [steps, 4, 2, 3]: result of Lucid's override
  R_edge_input, R_edge_incoming, R_edge_gradients  [3, 4]: inputs of exactly 0 or 6; live gradients of 1e-25 (their
                                             squares vanish in float32); an all dead entry with no helpful gradient
  relu_minimize_values                       [steps]: a dead input that starts at -100 and gets the override, after
                                             each step of `GradientDescentOptimizer(1).minimize(-relu, global_step)`
  render_kernel, render_thresholds           network: relu(SAME convolution + bias); thresholds of `render_vis`
  render_CASE_bias, render_CASE_spectrum     CASE: dead (unit 1 stays dead), wakes (in step 8); start of image(8)
  render_CASE_losses, render_CASE_images     "loss" of `make_vis_T` at every step (the objective before the update);
                                             [thresholds, 2, 8, 8, 3]: `render_vis("hidden:1", transforms=[])`:
                                             the image of threshold i is that after i + 1 steps

Objectives (`OBJECTIVES` has their arguments; A: 5x4x6, 4x4x6, 6 for a layer without positions, 5x4x6_zeros where some
positions are zero in all channels):
  acts_A                                activations, batch 3
  objective_vector                      the direction
  objective_A_NAME, objective_A_NAME_gradient   value, and gradient with respect to the activations
"""

import argparse
import contextlib
import importlib
import inspect
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf2
import tensorflow.compat.v1 as tf

PACKAGES = ("lucid==0.3.10", "decorator==5.3.1")
LUCID_MODULES = (
    "misc.gradient_override",
    "misc.redirected_relu_grad",
    "optvis.objectives",
    "optvis.param",
    "optvis.param.color",
    "optvis.param.images",
    "optvis.param.resize_bilinear_nd",
    "optvis.param.spatial",
    "optvis.render",
    "optvis.transform",
)
RESULT = Path(__file__).with_name("reference.npz")
SEED = 7

FOURIER_SIZES = ((12, 16, 3), (12, 15, 3), (11, 16, 3), (9, 7, 3), (8, 8, 1), (7, 9, 4))
FREQUENCY_SIZES = ((12, 16), (12, 15), (11, 16), (9, 7), (8, 8), (7, 9), (1, 2), (5, 3))
IMAGES = {
    "default": {"w": 12, "h": 9, "batch": 2},
    "square": {"w": 8},
    "odd": {"w": 7, "h": 8, "batch": 2, "sd": 0.5},
    "correlated": {"w": 8, "h": 7, "decorrelate": False, "sd": 0.5},
    "alpha": {"w": 8, "alpha": True, "sd": 0.5},
    "channels": {"w": 8, "channels": 2, "sd": 0.5},
    "pixels": {"w": 8, "fft": False, "sd": 0.5},
    "gray": {"w": 8, "sd": 0.5},
}
SQUARES = range(2, 257)
ROTATED = (-10, -7, -1, 0, 1, 4, 10)
RELU_STEPS = (0, 1, 15, 16, 17, 18, 100)
RENDER_BIASES = {"dead": (0.0, -9.0), "wakes": (0.0, -1.1)}
RENDER_STEPS, RENDER_THRESHOLDS = 24, (0, 7, 16, 17, 23)
# Objective, keywords, and whether it also takes activations without positions.
OBJECTIVES = {
    "channel": ("channel", {"n_channel": 2}, True),
    "channel_of_image1": ("channel", {"n_channel": 2, "batch": 1}, True),
    "neuron": ("neuron", {"channel_n": 3}, True),
    "neuron_x1_y0": ("neuron", {"channel_n": 3, "x": 1, "y": 0}, False),
    "direction_cossim0": ("direction", {"vec": None}, True),
    "direction_cossim1": ("direction", {"vec": None, "cossim_pow": 1}, True),
    "direction_cossim2": ("direction", {"vec": None, "cossim_pow": 2}, True),
    "deepdream": ("deepdream", {}, True),
    "diversity": ("diversity", {}, False),
}

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Install Lucid into a temporary folder and run this file with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", help="folder with Lucid; the script gives it to its child process")
    folder = parser.parse_args().packages
    if folder:
        save(make_arrays(import_lucid(folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([sys.executable, *install, *PACKAGES], check=True)
        subprocess.run([sys.executable, __file__, "--packages", folder], check=True)
    print(f"{RESULT.name}: {RESULT.stat().st_size} bytes")


def save(arrays: Arrays) -> None:
    """Floats as float32, whole numbers as they are."""
    floats = {name for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)}
    np.savez_compressed(RESULT, **{n: a.astype("float32") if n in floats else a for n, a in arrays.items()})


def import_lucid(folder: str) -> types.SimpleNamespace:
    """Lucid's modules, by their last names; see the module's docstring for what stands in for what."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_v2_behavior()
    tf.contrib = types.SimpleNamespace(image=types.SimpleNamespace(rotate=contrib_rotate))
    sys.path.append(folder)
    stand_ins = {
        "tensorflow": tf,
        "tensorflow.contrib": types.SimpleNamespace(slim=None),
        "future": types.ModuleType("future"),
        "future.standard_library": types.SimpleNamespace(install_aliases=lambda: None),
        "lucid.misc.io": types.SimpleNamespace(show=None),
    }
    sys.modules.update(stand_ins)
    modules = {name.split(".")[-1]: importlib.import_module(f"lucid.{name}") for name in LUCID_MODULES}
    sys.modules["tensorflow"] = tf2  # Lucid's modules keep theirs; TensorFlow may yet import parts of itself.
    return types.SimpleNamespace(**modules)


def contrib_rotate(images: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """`tf.contrib.image.rotate` of TensorFlow 1.15: around the centre, nearest pixel, zeros outside.

    The operation is the one it called; the matrix takes an output's (column, row) to an input's.
    """
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) - 1 for axis in (1, 2))
    cosine, sine = tf.cos(angle), tf.sin(angle)
    column = (width - (cosine * width - sine * height)) / 2.0
    row = (height - (sine * width + cosine * height)) / 2.0
    matrix = tf.stack([cosine, -sine, column, sine, cosine, row, 0.0, 0.0])[None]
    size = tf.shape(images)[1:3]
    return tf.raw_ops.ImageProjectiveTransformV2(
        images=images, transforms=matrix, output_shape=size, interpolation="NEAREST"
    )


def make_arrays(lucid: types.SimpleNamespace) -> Arrays:
    """Everything that is stored."""
    parts = (
        fourier_images,
        pyramids,
        whole_images,
        colors,
        paddings,
        scalings,
        rotations,
        jitters,
        adam,
        redirected_gradients,
        minimized_dead_input,
        renderings,
        objective_values,
    )
    arrays: Arrays = {}
    for part in parts:
        made = part(lucid)
        assert not set(made) & set(arrays), part
        arrays.update(made)
    return arrays


@contextlib.contextmanager
def seeded_session() -> Iterator[tf.Session]:
    """A session of a new graph; numpy's and TensorFlow's random numbers start anew."""
    np.random.seed(SEED)  # noqa: NPY002  Lucid draws its starts from this generator.
    threads = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default(), tf.Session(config=threads) as session:
        tf.set_random_seed(SEED)
        yield session


def started(session: tf.Session, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Values of tensors at the start of all variables."""
    session.run(tf.global_variables_initializer())
    return session.run(tensors)


def generator() -> np.random.Generator:
    """For inputs of our own."""
    return np.random.default_rng(SEED)


def nonlocals(function: Callable) -> dict:
    """The values that a function made by another one carries."""
    return dict(inspect.getclosurevars(function).nonlocals)


def fourier_images(lucid: types.SimpleNamespace) -> Arrays:
    """Spectra, their images, and the frequencies."""
    arrays = {f"freqs_{h}x{w}": lucid.spatial.rfft2d_freqs(h, w) for h, w in FREQUENCY_SIZES}
    cases = {"fft_{}x{}x{}".format(*size): (size, {}) for size in FOURIER_SIZES}
    cases["fft_12x15x3_decay2"] = (12, 15, 3), {"decay_power": 2}
    for name, (size, keywords) in cases.items():
        with seeded_session() as session:
            image = lucid.spatial.fft_image((2, *size), **keywords)
            (spectrum,) = tf.trainable_variables()
            arrays[f"{name}_spectrum"], arrays[f"{name}_image"] = started(session, [spectrum, image])
    return arrays


def pyramids(lucid: types.SimpleNamespace) -> Arrays:
    """Laplacian pyramids and one enlargement by itself."""
    arrays: Arrays = {}
    for size, levels in (((16, 12, 3), 4), ((9, 7, 3), 3)):
        name = "laplacian_{}x{}x{}".format(*size)
        with seeded_session() as session:
            image = lucid.spatial.laplacian_pyramid_image((2, *size), n_levels=levels)
            *variables, arrays[f"{name}_image"] = started(session, [*tf.trainable_variables(), image])
        arrays |= {f"{name}_level{level}": variable for level, variable in enumerate(variables)}
    arrays["resize_input"] = generator().normal(size=(1, 4, 3, 2)).astype("float32")
    with seeded_session() as session:
        resized = lucid.resize_bilinear_nd.resize_bilinear_nd(tf.constant(arrays["resize_input"]), (1, 10, 7, 2))
        arrays["resize_output"] = session.run(resized)
    return arrays


def whole_images(lucid: types.SimpleNamespace) -> Arrays:
    """The start of `pixel_image`, and `image` with its colours."""
    arrays: Arrays = {}
    with seeded_session() as session:
        pixels = lucid.spatial.pixel_image((1, 16, 16, 3))
        (arrays["pixel_16x16x3_image"],) = started(session, [pixels])
    for name, keywords in IMAGES.items():
        make = lucid.images.grayscale_image_rgb if name == "gray" else lucid.images.image
        with seeded_session() as session:
            image = make(**keywords)
            (variable,) = tf.trainable_variables()
            arrays[f"image_{name}_variable"], arrays[f"image_{name}_image"] = started(session, [variable, image])
    return arrays


def colors(lucid: types.SimpleNamespace) -> Arrays:
    """The constants, `to_valid_rgb` in its four settings, and its gradients."""
    color = lucid.color
    inputs = 2 * generator().normal(size=(2, 5, 4, 3)).astype("float32")
    inputs[0, 0] *= 20
    inputs[0, 1] /= 20
    inputs[0, 2, 0] = (0, 1, 0.5)
    incoming = generator().permuted(np.linspace(-1, 1, inputs.size, dtype="float32")).reshape(inputs.shape)
    arrays = {
        "color_matrix": color.color_correlation_svd_sqrt,
        "color_matrix_normalized": color.color_correlation_svd_sqrt / color.max_norm_svd_sqrt,
        "color_mean": np.array(color.color_mean),
        "rgb_input": inputs,
        "rgb_incoming": incoming,
    }
    for decorrelate in (False, True):
        for sigmoid in (False, True):
            kinds = "decorrelated" if decorrelate else "plain", "sigmoid" if sigmoid else "clipped"
            name = "rgb_{}_{}".format(*kinds)
            with seeded_session() as session:
                given = tf.constant(inputs)
                output = color.to_valid_rgb(given, decorrelate=decorrelate, sigmoid=sigmoid)
                (gradient,) = tf.gradients(output, given, incoming)
                arrays[f"{name}_output"], arrays[f"{name}_gradient"] = session.run([output, gradient])
    return arrays


def paddings(lucid: types.SimpleNamespace) -> Arrays:
    """Both modes, with a width that small images can reflect."""
    image = generator().normal(size=(2, 7, 9, 3)).astype("float32")
    arrays = {"pad_input": image}
    for name, transform in (("constant", lucid.transform.pad(3, "constant", 0.5)), ("reflect", lucid.transform.pad(3))):
        with seeded_session() as session:
            arrays[f"pad_{name}"] = session.run(transform(tf.constant(image)))
    return arrays


def scalings(lucid: types.SimpleNamespace) -> Arrays:
    """Every scale of `standard_transforms` by itself, and what else is in that list."""
    padding, first_jitter, scaling, rotation, second_jitter = lucid.transform.standard_transforms
    scales, angles = nonlocals(scaling)["scales"], nonlocals(rotation)["angles"]
    image = generator().normal(size=(1, 17, 20, 1)).astype("float32")
    arrays = {
        "scales": np.array(scales),
        "angles": np.array(angles, "int8"),
        "standard_pad": np.array([nonlocals(padding)["w"], nonlocals(padding)["constant_value"]]),
        "standard_jitters": np.array([nonlocals(part)["d"] for part in (first_jitter, second_jitter)], "int8"),
        "scale_input": image,
        "scale_sizes_40x41": np.zeros((len(scales), 2), "int16"),
        "scale_sizes": np.zeros((len(scales), len(SQUARES)), "int16"),
    }
    assert nonlocals(padding)["mode"].upper() == "CONSTANT"
    assert nonlocals(rotation)["units"] == "degrees"
    for k, scale in enumerate(scales):
        with seeded_session() as session:
            given = tf.placeholder(tf.float32, (1, None, None, 1))
            output = lucid.transform.random_scale([scale])(given)
            arrays[f"scale_output_{k}"] = session.run(output, {given: image})
            size = tf.shape(output)[1:3]
            arrays["scale_sizes_40x41"][k] = session.run(size, {given: np.zeros((1, 40, 41, 1))})
            for side in SQUARES:
                rows, columns = session.run(size, {given: np.zeros((1, side, side, 1))})
                assert rows == columns
                arrays["scale_sizes"][k, side - SQUARES[0]] = rows
    return arrays


def rotations(lucid: types.SimpleNamespace) -> Arrays:
    """Radians of all standard angles; some rotations with their gradients."""
    image = np.arange(1, 1 + 17 * 20).reshape(1, 17, 20, 1)
    angles = nonlocals(lucid.transform.standard_transforms[3])["angles"]
    with seeded_session() as session:
        radians = session.run(lucid.transform._angle2rads(tf.constant(angles), "degrees"))
    outputs, gradients = [], []
    for angle in ROTATED:
        with seeded_session() as session:
            given = tf.constant(image, tf.float32)
            output = lucid.transform.random_rotate([angle])(given)
            (gradient,) = tf.gradients(output, given, tf.constant(image, tf.float32))
            for values, value in zip((outputs, gradients), session.run([output, gradient]), strict=True):
                assert np.array_equal(value, np.round(value))
                values.append(value)
    return {
        "angles_radians": radians,
        "rotate_angles": np.array(ROTATED, "int8"),
        "rotate_input": image.astype("int16"),
        "rotate_output": np.array(outputs, "int16"),
        "rotate_gradient": np.array(gradients, "int16"),
    }


def jitters(lucid: types.SimpleNamespace) -> Arrays:
    """Draws of the crop, from an image whose pixels tell their place."""
    image = np.arange(2 * 11 * 16, dtype="float32").reshape(2, 11, 16, 1)
    arrays = {"jitter_input": image.astype("int16")}
    for d in (4, 8):
        with seeded_session() as session:
            output = lucid.transform.jitter(d)(tf.constant(image))
            draws = np.stack([session.run(output) for _ in range(500)])
        arrays[f"jitter_{d}_output"] = draws[:8].astype("int16")
        arrays[f"jitter_{d}_offsets"] = np.stack(divmod(draws[:, 0, 0, 0, 0], 16), axis=1).astype("int8")
    return arrays


def adam(lucid: types.SimpleNamespace) -> Arrays:
    """Lucid's default optimizer with given gradients: usual ones, tiny ones (epsilon shows), zeros, changing signs."""
    gradients = generator().normal(size=(10, 6)).astype("float32")
    gradients[:, 1] = 1e-8
    gradients[:, 2] *= 1e-7
    gradients[1:, 3] = 0
    gradients[:, 4] = 0
    start = np.linspace(-1, 1, 6, dtype="float32")
    with seeded_session() as session:
        variable, gradient = tf.Variable(start), tf.placeholder(tf.float32, start.shape)
        step = lucid.render.make_optimizer(None, []).apply_gradients([(gradient, variable)])
        session.run(tf.global_variables_initializer())
        values = []
        for given in gradients:
            session.run(step, {gradient: given})
            values.append(session.run(variable))
    return {"adam_start": start, "adam_gradients": gradients, "adam_values": np.stack(values)}


def redirected_gradients(lucid: types.SimpleNamespace) -> Arrays:
    """The gradients that Lucid puts in place of those of ReLU and ReLU6."""
    rectifiers = {
        "relu": ("Relu", tf.nn.relu, lucid.redirected_relu_grad.redirected_relu_grad),
        "relu6": ("Relu6", tf.nn.relu6, lucid.redirected_relu_grad.redirected_relu6_grad),
    }
    arrays = {"relu_steps": np.array(RELU_STEPS, "int16")}
    for name, (operation, rectify, override) in rectifiers.items():
        for kind, (inputs, incoming) in {name: relu_cases(name), f"{name}_edge": relu_edges()}.items():
            with seeded_session() as session:
                step, new_step = tf.train.get_or_create_global_step(), tf.placeholder(tf.int64, ())
                set_step = step.assign(new_step)
                given = tf.constant(inputs)
                with lucid.gradient_override.gradient_override_map({operation: override}):
                    output = rectify(given)
                (gradient,) = tf.gradients(output, given, tf.constant(incoming))
                gradients = []
                for value in RELU_STEPS:
                    session.run(set_step, {new_step: value})
                    gradients.append(session.run(gradient))
            arrays |= {f"{kind}_input": inputs, f"{kind}_incoming": incoming, f"{kind}_gradients": np.stack(gradients)}
    return arrays


def relu_cases(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and incoming gradients: all dead, partly dead, wholly alive, alive where the gradient is 0."""
    random = generator()
    size = random.uniform(0.5, 5.5, (4, 2, 3)).astype("float32")
    dead = -size
    if name == "relu6":  # The dead are below 0 or above 6.
        dead = np.where(np.arange(3) == 1, 6 + size, dead)
    alive = np.ones((4, 2, 3), bool)
    alive[0] = False
    alive[1] = [[True, False, False], [False, True, True]]
    alive[3] = [[True, False, False], [False, False, True]]
    signs = np.array([[1, 1, -1], [-1, -1, 1]], "float32")
    incoming = signs * random.uniform(0.1, 2, size.shape).astype("float32")
    incoming[3][alive[3]] = 0
    return np.where(alive, size, dead).astype("float32"), incoming


def relu_edges() -> tuple[np.ndarray, np.ndarray]:
    """Inputs at the very bounds, live gradients whose squares vanish, dead inputs that every gradient pushes away."""
    inputs = np.array([[0, 0, 6, 6], [1, 1, -1, -1], [-1, -2, -3, 7]], "float32")
    incoming = np.array([[1, -1, 1, -1], [1e-25, -1e-25, -1, 1], [1, 2, 3, -1e-25]], "float32")
    return inputs, incoming


def minimized_dead_input(lucid: types.SimpleNamespace) -> Arrays:
    """How many steps of an optimizer the override lasts: a dead input moves by 1 in each."""
    with seeded_session() as session:
        variable, step = tf.Variable([[-100.0]]), tf.train.get_or_create_global_step()
        with lucid.gradient_override.gradient_override_map({"Relu": lucid.redirected_relu_grad.redirected_relu_grad}):
            loss = -tf.reduce_sum(tf.nn.relu(variable))
        update = tf.train.GradientDescentOptimizer(1.0).minimize(loss, global_step=step)
        session.run(tf.global_variables_initializer())
        values = []
        for _ in range(RENDER_STEPS):
            session.run(update)
            values.append(session.run(variable)[0, 0])
    return {"relu_minimize_values": np.array(values)}


class SmallNetwork:
    """What `render_vis` needs of a model: one rectified convolution."""

    labels = None

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        self.kernel, self.bias = kernel, bias

    def import_graph(self, image: tf.Tensor, **_: object) -> Callable[[str], tf.Tensor]:
        """Build the network on an image; gives its layers by name."""
        hidden = tf.nn.relu(tf.nn.conv2d(image, self.kernel, strides=1, padding="SAME") + self.bias)
        return {"hidden": hidden}.__getitem__


def renderings(lucid: types.SimpleNamespace) -> Arrays:
    """The whole of Lucid's loop without random transformations, for a unit that stays dead and one that wakes."""
    render = lucid.render
    kernel = generator().normal(0.1, 0.2, size=(3, 3, 3, 2)).astype("float32")
    arrays = {"render_kernel": kernel, "render_thresholds": np.array(RENDER_THRESHOLDS, "int16")}
    for case, bias in RENDER_BIASES.items():
        network = SmallNetwork(kernel, np.array(bias, "float32"))

        def start() -> tf.Tensor:
            return lucid.param.image(8, batch=2)

        with seeded_session() as session:
            given = render.make_vis_T(network, "hidden:1", start, transforms=[], relu_gradient_override=True)
            (spectrum,) = tf.trainable_variables()
            session.run(tf.global_variables_initializer())
            arrays[f"render_{case}_bias"] = network.bias
            arrays[f"render_{case}_spectrum"] = session.run(spectrum)
            losses, after = [], []
            for _ in range(RENDER_STEPS):
                losses.append(session.run([given("loss"), given("vis_op")])[0])
                after.append(session.run(given("input")))
            arrays[f"render_{case}_losses"] = np.array(losses)
        with seeded_session():
            images = render.render_vis(
                network, "hidden:1", start, transforms=[], thresholds=RENDER_THRESHOLDS, verbose=False
            )
        assert np.allclose(images, [after[threshold] for threshold in RENDER_THRESHOLDS], atol=1e-6)
        arrays[f"render_{case}_images"] = np.stack(images)
    return arrays


def objective_values(lucid: types.SimpleNamespace) -> Arrays:
    """Values and gradients of objectives for given activations."""
    random = generator()
    vector = random.normal(size=6).astype("float32")
    acts = {
        size: random.normal(size=(3, *map(int, size.split("x")))).astype("float32") for size in ("5x4x6", "4x4x6", "6")
    }
    acts["5x4x6_zeros"] = np.maximum(acts["5x4x6"], 0)
    acts["5x4x6_zeros"][:, 3:, 1] = 0
    arrays = {"objective_vector": vector, **{f"acts_{size}": values for size, values in acts.items()}}
    for size, values in acts.items():
        for name, (objective, keywords, without_positions) in OBJECTIVES.items():
            if values.ndim == 2 and not without_positions:
                continue
            keywords = {key: vector if key == "vec" else value for key, value in keywords.items()}
            with seeded_session() as session:
                layer = tf.constant(values)
                value = getattr(lucid.objectives, objective)("layer", **keywords)({"layer": layer}.__getitem__)
                (gradient,) = tf.gradients(value, layer)
                stored = f"objective_{size}_{name}"
                arrays[stored], arrays[f"{stored}_gradient"] = session.run([value, gradient])
    return arrays


if __name__ == "__main__":
    main()
