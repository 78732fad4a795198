"""The tfunits package."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfunits" / "__init__.py").read_text()).group(1)

setuptools.setup(
    name="tfunits",
    version=VERSION,
    description="Train width-scaled image classifiers and measure what their units do, on TensorFlow 2 and Keras 3.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["tfunits", "tfunits.*"]),
    install_requires=[
        "tensorflow>=2.21,<3",
        "keras>=3.15,<4",
        "tensorboard>=2.21",
        "tensorflow-datasets>=4.9.10",
        # tensorflow-datasets 4.9.10 imports it without declaring it for Python 3.9 and later.
        "importlib_resources",
        "numpy>=2.0",
        "scipy",
        "scikit-learn",
        "pandas",
        "absl-py>=2.3",
        "matplotlib",
        "tqdm",
        "filelock",
        "threadpoolctl",
        "psutil",
    ],
    extras_require={
        "test": [
            "ray",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "pyarrow",
            "scikit-dimension",
            "ruff",
            "import-linter",
        ],
        "benchmark": ["torch>=2.13"],
        "export": ["pyarrow"],
        "ray": ["ray"],
        "gpu": ["tensorflow[and-cuda]>=2.21,<3"],
    },
)
