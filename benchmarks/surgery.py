"""Removing units from every family of keras.applications and from tfunits' own networks: does the thin one compute
what the masked one does, and how long does it take.

Memory is how much the process's peak grew, in multiples of the model's weights; 0 where it was larger before.

    python benchmarks/surgery.py [--families=VGG16,ResNet50] [--size=96]
"""

import argparse
import inspect
import resource
import time

import keras
import numpy as np

from tfunits import models, surgery

# One or more members of every convolutional family of keras.applications, with the smallest side that it takes.
APPLICATIONS = {
    "VGG16": 32, "VGG19": 32, "ResNet50": 32, "ResNet101": 32, "ResNet50V2": 32, "InceptionV3": 75,
    "InceptionResNetV2": 75, "Xception": 71, "DenseNet121": 32, "DenseNet201": 32, "MobileNet": 32, "MobileNetV2": 32,
    "MobileNetV3Small": 32, "MobileNetV3Large": 32, "NASNetMobile": 32, "EfficientNetB0": 32, "EfficientNetB3": 32,
    "EfficientNetV2B0": 32, "EfficientNetV2S": 32, "ConvNeXtTiny": 32,
}  # fmt: skip
OWN = ("mlp", "alexnet", "resnet18", "resnet50", "resnet56", "inception_v3", "fc5", "wide_resnet28", "densenet40")
# Share of layers that lose units, and of units that such a layer loses.
SHARE_OF_LAYERS = 0.3
SHARE_OF_UNITS = 0.2
# All layers of networks of so few.
FEW_LAYERS = 6


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give a model weights, biases and statistics that are nowhere 0 or 1 by luck, and keep activations' size."""
    generator = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        own = {variable.name: variable for variable in layer.variables if "seed" not in variable.path}
        if getattr(layer, "layers", None) is not None or isinstance(layer, keras.layers.Normalization):
            continue
        for name, variable in own.items():
            noise = generator.normal(size=variable.shape)
            if "variance" in name:
                value = 0.5 + np.abs(noise)
            elif name in ("gamma", "scale"):
                value = 0.5 + 0.3 * np.abs(noise)
            elif "kernel" in name:
                is_depthwise = "depthwise" in name or isinstance(layer, keras.layers.DepthwiseConv2D)
                fan_in = np.prod(variable.shape[:2] if is_depthwise else variable.shape[:-1])
                value = noise * np.sqrt(2 / fan_in)
            else:
                value = 0.2 * noise
            variable.assign(value.astype("float32"))
    return model


def build_application(name: str, size: int) -> keras.Model:
    """An application with random weights and 10 classes, for images of the given side or its own smallest one."""
    builder = getattr(keras.applications, name)
    side = max(size, APPLICATIONS[name])
    options = {"weights": None, "input_shape": (side, side, 3), "classes": 10, "classifier_activation": None}
    if "include_preprocessing" in inspect.signature(builder).parameters:
        options["include_preprocessing"] = True
    return builder(**options)


def build_own(name: str) -> keras.Model:
    """One of tfunits' networks at a quarter of its width."""
    shape = (20,) if name in ("mlp", "fc5") else (32, 32, 3)
    return models.build(name, size=0.25, input_shape=shape, num_classes=2 if name == "fc5" else 10)


def check(model: keras.Model, seed: int = 0, num_images: int = 2) -> dict:
    """Remove random units of random layers, and compare with the masked model."""
    generator = np.random.default_rng(seed)
    units = surgery.UnitMap(surgery.Graph(model))
    free, reasons = {}, {}
    for call, axis in units.sources:
        ids = units.layouts[call.outputs[0]][axis]
        left = [index for index, number in enumerate(ids.tolist()) if number not in units.fixed]
        if left:
            free[call.name] = left
        else:
            reasons[call.name] = units.fixed[int(ids[0])]
    chosen = {
        name: generator.choice(left, max(1, int(SHARE_OF_UNITS * len(left))), replace=False).tolist()
        for name, left in free.items()
        if len(free) < FEW_LAYERS or generator.random() < SHARE_OF_LAYERS
    }  # fmt: skip
    peak, start = _peak(), time.perf_counter()
    thin = surgery.remove_units(model, chosen)
    seconds = time.perf_counter() - start
    memory = (_peak() - peak) / (4 * model.count_params())
    inputs = [generator.uniform(0, 1, (num_images, *t.shape[1:])).astype("float32") for t in model.inputs]
    return {
        "layers": len(units.sources),
        "removable": len(free),
        "params": model.count_params(),
        "left": thin.count_params() / model.count_params(),
        "error": surgery.removal_error(model, thin, chosen, inputs),
        "changed": surgery.removal_error(model, model, chosen, inputs),
        "seconds": seconds,
        "memory": memory,
        "reasons": reasons,
    }


def _peak() -> int:
    """Largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join([*APPLICATIONS, *OWN]), help="names, with commas")
    parser.add_argument("--size", type=int, default=32, help="side of the images")
    options = parser.parse_args()
    print(
        f"{'network':20} {'removable/layers':>17} {'parameters':>11} {'left':>6} {'error':>8} "
        f"{'effect':>8} {'seconds':>8} {'memory':>7}"
    )
    for name in options.families.split(","):
        keras.utils.clear_session()
        model = randomize(build_own(name) if name in OWN else build_application(name, options.size))
        found = check(model)
        print(
            f"{name:20} {found['removable']:>8}/{found['layers']:<8} {found['params']:>11,} {found['left']:>6.1%} "
            f"{found['error']:>8.1e} {found['changed']:>8.1e} {found['seconds']:>8.1f} {found['memory']:>7.2f}",
            flush=True,
        )
        for layer, reason in found["reasons"].items():
            print(f"{'':22}{layer} stays: {reason}")


if __name__ == "__main__":
    main()
