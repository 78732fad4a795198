"""What units respond to: images that raise their activation, drawn as Lucid draws them.

Lucid's five nouns: a parameterisation (`fft_image`, ...), transforms (`standard`, ...), an objective (`unit`, ...), the
network (a Keras model), and `render`, which brings them together. Names load when they are first used.
"""

import importlib
from typing import Any

_MODULES = {
    "Network": "visualization.network",
    "Objective": "visualization.objectives",
    "Parameterization": "visualization.parameterization",
    "PARAMETERIZATIONS": "visualization.parameterization",
    "Preparation": "visualization.preparation",
    "Rendering": "visualization.rendering",
    "crop_or_pad": "visualization.transforms",
    "direction": "visualization.objectives",
    "diversity": "visualization.objectives",
    "fft_image": "visualization.parameterization",
    "fourier_amplitude": "statistics",
    "jitter": "visualization.transforms",
    "laplacian_image": "visualization.parameterization",
    "layer": "visualization.objectives",
    "neuron": "visualization.objectives",
    "pad": "visualization.transforms",
    "pixel_image": "visualization.parameterization",
    "preparation_of": "visualization.preparation",
    "random_rotate": "visualization.transforms",
    "random_scale": "visualization.transforms",
    "render": "visualization.rendering",
    "standard": "visualization.transforms",
    "total_variation": "statistics",
    "unit": "visualization.objectives",
    "weight_images": "visualization.weights",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"tfunits.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'tfunits.visualization' has no attribute {name!r}")
