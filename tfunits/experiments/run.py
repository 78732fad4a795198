"""One run while it is worked on."""

import dataclasses
import functools

import keras
import tensorflow as tf

from tfunits import datasets, reports
from tfunits.artifacts import RunDir, read_json
from tfunits.configs import FILE_PREFIX, SPLITS, ExecutionConfig, ExperimentConfig, UserError
from tfunits.experiments.load import build_network, digest_weights, load_file
from tfunits.experiments.sharing import Shared
from tfunits.surgery import as_functional, find_taps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run while it is worked on; data and model are made when first needed.

    Attributes:
      config: the experiment.
      execution: where and how.
      run_dir: its directory, claimed by this process.
      strategy: where to train.
      deterministic: whether TensorFlow was told to give equal bits.
      shared: what it shares with other runs.
    """

    config: ExperimentConfig
    execution: ExecutionConfig
    run_dir: RunDir
    strategy: tf.distribute.Strategy
    deterministic: bool
    shared: Shared = dataclasses.field(default_factory=Shared)

    @functools.cached_property
    def data(self) -> datasets.Dataset:
        """The run's data set."""
        return self.shared.data(self.config.data, self._load_data)

    def _load_data(self) -> datasets.Dataset:
        data = self.config.data
        options = {
            f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in ("dataset", "data_seed")
        }
        loaded = datasets.load(
            data.dataset,
            data_seed=data.data_seed,
            data_dir=self.execution.data_dir,
            download=self.execution.download,
            **options,
        )
        expected = {"train": data.num_train, "validation": data.num_validation, "test": data.num_test}
        found = {split: len(loaded.splits[split]) if split in loaded.splits else 0 for split in SPLITS}
        if found != expected:
            counts = [" / ".join(f"{values[split]:,}" for split in SPLITS) for values in (found, expected)]
            print(
                f"{self.run_dir.name}: the data hold {counts[0]} examples, where {counts[1]} are published", flush=True
            )
        return loaded

    @functools.cached_property
    def measured_data(self) -> datasets.Dataset:
        """The examples that are measured."""
        count = self.config.measure.measured_examples
        return self.data if count is None else self.data.first(count)

    def build_model(self) -> keras.Model:
        """The network with its initial weights."""
        with self.strategy.scope():
            return build_network(self.config, self.data.input_shape, self.data.num_classes)

    @functools.cached_property
    def model(self) -> keras.Model:
        """The network that is measured.

        Raises:
          UserError: it was not trained, or its weights were not kept.
        """
        if self.config.model.is_file:
            return self._load_own_model()
        if not self.run_dir.model.is_file():
            if self.run_dir.is_done("train"):
                hint = "its weights were not kept (--save=metrics); train it again under another --run_root"
            else:
                hint = "it is not trained; add the step train"
            raise UserError(f"--steps: expected the trained weights of {self.run_dir.name}; {hint}")
        model = load_file(self.run_dir.model)
        trained = read_json(self.run_dir.done_file("train")) if self.run_dir.is_done("train") else {}
        if trained.get("weights_sha256", digest := digest_weights(model)) != digest:
            raise UserError(
                f"{self.run_dir.model}: expected the weights that training wrote, received those of another network; "
                f"delete {self.run_dir.done_file('train')} to write them again from the checkpoint, or to train again "
                "where --save kept none"
            )
        return model

    def _load_own_model(self) -> keras.Model:
        """A user's network, of which only the data's input shape is asked."""
        name, data = self.config.model.model, self.config.data
        model = load_file(name.removeprefix(FILE_PREFIX))
        try:
            expected = [tuple(tensor.shape[1:]) for tensor in as_functional(model).inputs]
        except ValueError as error:
            raise UserError(f"--model={name}: {error}") from None
        shape = self.data.input_shape
        fits = len(expected) == 1 and len(expected[0]) == len(shape)
        if not fits or any(size not in (None, given) for size, given in zip(expected[0], shape, strict=True)):
            forms = [f"--preprocessing={n} {s}" for n, s in data.dataset_facts.preprocessings.items()]
            raise UserError(
                f"--model={name}: expected a network that reads {shape}, as {data.dataset} gives with "
                f"--preprocessing={data.preprocessing}, received one that reads {', '.join(map(str, expected))}; "
                f"{data.dataset} has {', '.join(forms)}"
            )
        self._check_outputs(model)
        return model

    def _check_outputs(self, model: keras.Model) -> None:
        """Whether a user's network predicts the data's classes, and has taps."""
        name, num_classes = self.config.model.model, self.data.num_classes
        shapes = [tuple(tensor.shape[1:]) for tensor in as_functional(model).outputs]
        accepted = [(num_classes,)] + ([(1,)] if num_classes == 2 else [])
        if len(shapes) != 1 or shapes[0] not in accepted:
            raise UserError(
                f"--model={name}: expected one output of shape {' or '.join(map(str, accepted))}, a score a class of "
                f"{self.data.name}, received {', '.join(map(str, shapes))}; choose its data with --dataset"
            )
        try:
            taps = find_taps(model)
        except ValueError as error:
            raise UserError(f"--model={name}: {error}") from None
        if reports.NETWORK in taps:
            raise UserError(f"--model={name}: expected no layer named {reports.NETWORK!r}, the name of the whole")
