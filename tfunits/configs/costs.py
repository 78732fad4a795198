"""What runs cost: operations, memory and time, estimated from their configurations alone."""

import dataclasses
import math
from collections.abc import Sequence

from tfunits.configs import facts
from tfunits.configs.architectures import describe_architecture
from tfunits.configs.experiment import ExperimentConfig

# A training step does two more times the operations of a forward pass, for the gradients of activations and weights
# (Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1).
_PASSES_OF_A_STEP = 3
_GIGA = 1e9
_BYTES_OF_A_NUMBER = 4
# One core of a server's CPU: what every network's first run on the embedded digits took here (BUILD.md, Times) follows
# from these four numbers to a factor of two.
_CPU_FLOPS = 90 * _GIGA
_CPU_ACTIVATIONS = 1 * _GIGA
_SECONDS_OF_A_LAYER = 0.7
_SECONDS_OF_A_RUN = 2.0
# One GPU: a quarter of the float32 peak and of the memory bandwidth of an NVIDIA A100 (its data sheet: 19.5 TFLOP/s,
# 1,555 GB/s), six float32 transfers an activation. Nothing was measured on one.
_GPU_FLOPS = 19_500 * _GIGA / 4
_GPU_ACTIVATIONS = 1_555 * _GIGA / 4 / (6 * _BYTES_OF_A_NUMBER)
# Of a step on a GPU, about fifteen kernels a layer of ten microseconds each wait for the CPU.
_GPU_SECONDS_OF_A_LAYERS_STEP = 150e-6
# Goyal et al. 2017, "Accurate, large minibatch SGD": nine tenths of what as many GPUs could do.
_GPU_EFFICIENCY = 0.9
_SECONDS_AN_HOUR = 3600
# TensorFlow's own memory after a first step.
_PROCESS_BYTES = 0.8e9
# Weights, gradients, velocities, their best and last values, and what is on its way to a file.
_COPIES_OF_WEIGHTS = 8
# Kept for the backward pass, their gradients, and what is not yet released.
_COPIES_OF_ACTIVATIONS = 3
# Images that are read while they are needed.
_STREAM_BYTES = 1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What runs cost, each alone on a device.

    Attributes:
      parameters: trainable ones, of all runs.
      training_flops, measuring_flops: of dense layers and convolutions, multiplications and additions apart.
      activations: numbers written on the way.
      layer_steps: training steps, times layers.
      setup_seconds: to build and compile, on one CPU core, once for runs that are carried out together.
      num_runs: how many.
    """

    parameters: int = 0
    training_flops: int = 0
    measuring_flops: int = 0
    activations: int = 0
    layer_steps: int = 0
    setup_seconds: float = 0.0
    num_runs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of both."""
        fields = [field.name for field in dataclasses.fields(self)]
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in fields})

    @property
    def cpu_hours(self) -> float:
        """Hours on one CPU core."""
        flops = self.training_flops + self.measuring_flops
        work = flops / _CPU_FLOPS + self.activations / _CPU_ACTIVATIONS
        return (work + self.setup_seconds + _SECONDS_OF_A_RUN * self.num_runs) / _SECONDS_AN_HOUR

    def gpu_hours(self, num_gpus: int = 1) -> float:
        """Hours on GPUs, which share out the runs, or a run's batches where there are fewer runs."""
        flops = self.training_flops + self.measuring_flops
        work = flops / _GPU_FLOPS + self.activations / _GPU_ACTIVATIONS
        work += self.layer_steps * _GPU_SECONDS_OF_A_LAYERS_STEP
        fixed = self.setup_seconds + _SECONDS_OF_A_RUN * self.num_runs
        efficiency = 1 if num_gpus == 1 else _GPU_EFFICIENCY
        parallel = max(1, min(num_gpus, self.num_runs))
        return (work / (efficiency * num_gpus) + fixed / parallel) / _SECONDS_AN_HOUR


def estimate_cost(config: ExperimentConfig, steps: Sequence[str] = facts.DEFAULT_STEPS) -> Cost:
    """What one run costs.

      training  = F (3 examples + validated examples) epochs
      measuring = F (all examples + measured examples (1 + ways (levels - 2) draws (taps / 2 + 1)))

    F are the operations of a forward pass for one example; half of a network lies behind its taps on average, and
    nothing that counts behind a single one; of an ablation's levels the first needs no pass and the last one a tap.
    Early stopping is not foreseen. Of steps other than train and measure only the setting up is counted, of reports not
    even that; nor is a user's own network counted, whose layers only its file knows.

    Args:
      config: of the run.
      steps: that are carried out.

    Example:
      >>> from tfunits.configs import resolve
      >>> estimate_cost(resolve({"model": "mlp", "dataset": "uncorrelated10"}), ("train",)).training_flops
      614400000
    """
    if config.model.is_file:
        return Cost(num_runs=1)
    data, training, measure = config.data, config.training, config.measure
    network = describe_architecture(config.model, data.input_shape, data.num_classes)
    trainings = len(training.weight_decay_choices or (None,))
    trained = measured = num_steps = 0
    if "train" in steps:
        epochs = trainings * training.epochs
        trained = epochs * (_PASSES_OF_A_STEP * data.num_train + data.num_validation)
        num_steps = epochs * steps_of_epoch(config)
    if "measure" in steps:
        most = measure.measured_examples or math.inf
        counts = {"train": data.num_train, "validation": data.num_validation, "test": data.num_test}
        examples = {split: min(count, most) for split, count in counts.items()}
        ways = len(measure.ablation_unit) * len(measure.ablation_order)
        taps = len(facts.MODELS[config.model.model].base_widths)
        # Behind the only hidden layer there are but the logits.
        behind = taps / 2 + 1 if taps > 1 else 0
        ablations = ways * max(measure.levels - 2, 0) * measure.draws * behind
        measured = sum(examples.values()) + sum(examples[s] for s in measure.measured_splits) * (1 + ablations)
    return Cost(
        parameters=network.parameters,
        training_flops=network.flops * trained,
        measuring_flops=int(network.flops * measured),
        activations=int(network.activations * (trained + measured)),
        layer_steps=network.num_layers * num_steps,
        setup_seconds=_SECONDS_OF_A_LAYER * network.num_layers if set(steps) - {"report"} else 0.0,
        num_runs=1,
    )


def sum_costs(batches: Sequence[Sequence[Cost]]) -> Cost:
    """What the runs of several batches cost: those of a batch are set up together."""
    total = Cost()
    for batch in batches:
        for index, cost in enumerate(batch):
            total += dataclasses.replace(cost, setup_seconds=0.0) if index else cost
    return total


def steps_of_epoch(config: ExperimentConfig, *, drop_last: bool = False) -> int:
    """Training steps of an epoch.

    Args:
      config: of the run.
      drop_last: whether an uneven last batch is left out, as networks with batch normalisation do on several devices.
    """
    examples, batch = config.data.num_train, config.training.effective_batch_size
    return examples // batch if drop_last else -(-examples // batch)


def estimate_memory(config: ExperimentConfig) -> int:
    """Bytes that a process needs for a run: TensorFlow, weights and their copies, a batch's activations, the data.

    A rough figure by which no more runs are begun than a machine can hold.
    """
    data = config.data
    values = (data.num_train + data.num_validation + data.num_test) * math.prod(data.input_shape)
    is_streamed = data.is_folder or data.dataset == "imagenet2012"
    stored = min(_BYTES_OF_A_NUMBER * values, _STREAM_BYTES if is_streamed else math.inf)
    if config.model.is_file:
        return int(_PROCESS_BYTES + stored)
    network = describe_architecture(config.model, data.input_shape, data.num_classes)
    batch = _COPIES_OF_ACTIVATIONS * config.training.effective_batch_size * network.activations
    numbers = _COPIES_OF_WEIGHTS * network.parameters + batch
    return int(_PROCESS_BYTES + _BYTES_OF_A_NUMBER * numbers + stored)
