"""Steps of one run: their names, and a user's own network measured as it is."""

import json
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_runs import carry_out, make_config, measure_names, read_weights, save_network

from tfunits import datasets, experiments
from tfunits.artifacts import RunDir
from tfunits.configs import STEPS, ExecutionConfig


def measure_own(tmp_path: pathlib.Path, model: str, **fields) -> tuple[int, RunDir]:
    config = make_config(model=model, **fields)
    return carry_out(tmp_path / "runs", config, steps=("measure",)), RunDir.of(config, tmp_path / "runs")


def accuracies(run_dir: RunDir) -> dict[str, dict]:
    (file,) = run_dir.measures.glob("accuracy-*.json")
    return json.loads(file.read_text())["splits"]


def test_a_users_network_is_measured(tmp_path):
    model = save_network(tmp_path / "own.keras", (8, 8, 1))
    code, run_dir = measure_own(tmp_path, model, preprocessing="image8", measured_splits=("test", "validation"))
    assert code == 0
    assert run_dir.name.startswith("own-digits-s1-0-")
    assert measure_names(run_dir) == {"accuracy.json", "ablation.json", "units.json", "units.npz"}
    assert len(list(run_dir.measures.glob("*.json"))) == 5
    part = datasets.load("digits", preprocessing="image8").splits["test"]
    kernel, bias, last_kernel, last_bias = keras.models.load_model(tmp_path / "own.keras").get_weights()
    outputs = np.maximum(part.inputs.reshape(-1, 64) @ kernel + bias, 0) @ last_kernel + last_bias
    np.testing.assert_allclose(np.load(run_dir.logits)["test"], outputs, atol=1e-5)
    assert accuracies(run_dir)["test"] == {
        "accuracy": np.mean(outputs.argmax(axis=1) == part.labels), "examples": 539
    }  # fmt: skip
    assert not run_dir.history.exists()
    assert not run_dir.model.exists()


def test_a_users_report_needs_no_training(tmp_path):
    config = make_config(model=save_network(tmp_path / "own.keras", (64,)), preprocessing="vector64")
    assert carry_out(tmp_path, config) == 0
    run_dir = RunDir.of(config, tmp_path)
    assert sorted(path.name for path in run_dir.figures.iterdir()) == [
        "ablation_test_channel.png",
        "correlations_test.png",
    ]


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_users_network_of_one_output_is_read_by_its_kind(tmp_path, activation):
    """A score counts from 0, a probability from one half."""
    model = save_network(tmp_path / "own.keras", (10,), outputs=1, activation=activation)
    code, run_dir = measure_own(tmp_path, model, dataset="digits_parity")
    assert code == 0
    logits = np.load(run_dir.logits)
    classes = logits["test"][:, 0] >= (0.5 if activation == "sigmoid" else 0)
    assert 0.1 < classes.mean() < 0.9
    assert accuracies(run_dir)["test"]["accuracy"] == np.mean(classes == logits["test_labels"])


def test_the_same_content_is_the_same_run_wherever_it_lies(tmp_path):
    model = save_network(tmp_path / "own.keras", (64,))
    (tmp_path / "other").mkdir()
    copy = pathlib.Path(tmp_path / "other" / "own.keras")
    copy.write_bytes((tmp_path / "own.keras").read_bytes())
    first, second = (make_config(model=m, preprocessing="vector64") for m in (model, f"file:{copy}"))
    assert RunDir.of(first, tmp_path).name == RunDir.of(second, tmp_path).name
    other = make_config(model=save_network(tmp_path / "own.keras", (64,), outputs=11), preprocessing="vector64")
    assert RunDir.of(other, tmp_path).name != RunDir.of(first, tmp_path).name


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0x10
    return bytes(damaged)


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b"", lambda content: b"no archive" * 9])
def test_a_damaged_file_is_one_line(tmp_path, capsys, damage):
    model = save_network(tmp_path / "own.keras", (64,))
    (tmp_path / "own.keras").write_bytes(damage((tmp_path / "own.keras").read_bytes()))
    code, run_dir = measure_own(tmp_path, model, preprocessing="vector64")
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1
    assert line.startswith(f"{run_dir.name}: model file: expected a ")
    assert str(tmp_path / "own.keras") in line
    assert run_dir.status()["state"] == "failed"
    assert not run_dir.error_log.exists()


@pytest.mark.parametrize("shape", [(5, 5, 1), (64,), (8, 8, 3)])
def test_a_network_of_other_inputs_is_one_line(tmp_path, capsys, shape):
    code, run_dir = measure_own(tmp_path, save_network(tmp_path / "own.keras", shape), preprocessing="image8")
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1
    assert "expected a network that reads (8, 8, 1), as digits gives with --preprocessing=image8" in line
    assert f"received one that reads {shape}" in line
    assert not run_dir.error_log.exists()


@pytest.mark.parametrize(
    ("fields", "shape", "outputs", "accepted"),
    [
        ({"preprocessing": "vector64"}, (64,), 3, "(10,)"),
        ({"preprocessing": "vector64"}, (64,), 1, "(10,)"),
        ({"dataset": "digits_parity"}, (10,), 10, "(2,) or (1,)"),
    ],
)
def test_a_network_of_other_classes_is_one_line(tmp_path, capsys, fields, shape, outputs, accepted):
    code, _ = measure_own(tmp_path, save_network(tmp_path / "own.keras", shape, outputs), **fields)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1
    assert f"expected one output of shape {accepted}, a score a class of" in line
    assert f"received ({outputs},); choose its data with --dataset" in line


def test_a_network_without_taps_is_one_line(tmp_path, capsys):
    keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="scores")]).save(tmp_path / "own.keras")
    code, run_dir = measure_own(tmp_path, f"file:{tmp_path / 'own.keras'}", preprocessing="vector64")
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1
    assert "expected activations or merges between input and output" in line
    assert "traceback" not in line


def test_measure_files_are_what_the_step_writes(tmp_path):
    config = make_config(epochs=0, measured_splits=("test", "train"), ablation_unit=("channel", "location"))
    assert carry_out(tmp_path, config, steps=("train", "measure")) == 0
    written = {path.name for path in RunDir.of(config, tmp_path).measures.glob("*.json")}
    assert written == set(experiments.measure_files(config))
    assert len(written) == 7


def test_steps_come_in_their_order():
    assert experiments.steps_of(make_config(), ExecutionConfig()) == ["train", "measure", "report"]
    assert experiments.steps_of(make_config(), ExecutionConfig(steps=("report", "train"))) == ["train", "report"]
    assert tuple(experiments.STEP_FUNCTIONS) == STEPS


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> RunDir:
    root = tmp_path_factory.mktemp("finished")
    assert carry_out(root, make_config(epochs=0)) == 0
    return RunDir.of(make_config(epochs=0), root)


@pytest.mark.parametrize(
    ("step", "fields", "done"),
    [
        ("train", {}, True),
        ("train", {"draws": 2}, True),
        ("measure", {}, True),
        ("measure", {"tolerance": 0.1}, True),
        ("measure", {"draws": 2}, False),
        ("measure", {"measured_splits": ("train",)}, False),
        ("report", {}, True),
        ("report", {"tolerance": 0.1}, False),
    ],
)
def test_a_step_is_done_for_the_options_that_decide_it(finished, step, fields, done):
    assert experiments.is_step_done(finished, step, make_config(epochs=0, **fields)) == done


class TestAnotherNetworksWeights:
    """A model.keras that training did not write is named, and written again from the checkpoint."""

    def test_it_is_refused_and_made_again(self, tmp_path, capsys):
        config, other = make_config(), make_config(seed=1)
        assert carry_out(tmp_path, config, other, steps=("train",)) == 0
        run_dir, other_dir = (RunDir.of(each, tmp_path) for each in (config, other))
        own = read_weights(run_dir.model)
        shutil.copy(other_dir.model, run_dir.model)
        capsys.readouterr()
        assert carry_out(tmp_path, config, steps=("measure",)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"{run_dir.name}: {run_dir.model}: expected the weights that training wrote, received those of another "
            f"network; delete {run_dir.done_file('train')} to write them again from the checkpoint, or to train again "
            "where --save kept none"
        )
        run_dir.done_file("train").unlink()
        assert carry_out(tmp_path, config) == 0
        for left, right in zip(read_weights(run_dir.model), own, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_flipped_byte_of_the_weights_is_one_line(tmp_path, capsys):
    config = make_config()
    assert carry_out(tmp_path, config, steps=("train",)) == 0
    path = RunDir.of(config, tmp_path).model
    content = path.read_bytes()
    for place in np.random.default_rng(0).choice(len(content), 5, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 0x20
        path.write_bytes(bytes(damaged))
        capsys.readouterr()
        code = carry_out(tmp_path, config, steps=("measure",), save="all")
        lines = capsys.readouterr().err.splitlines()
        # A byte that no reader looks at, such as a time, changes nothing.
        assert (code, len(lines)) in ((1, 1), (0, 0))
        assert all("model.keras" in line for line in lines)
        shutil.rmtree(RunDir.of(config, tmp_path).measures, ignore_errors=True)
        RunDir.of(config, tmp_path).logits.unlink(missing_ok=True)


class TestAuxiliaryHead:
    """inception_v3 trains with its second head, and is measured and kept without."""

    @pytest.mark.slow
    def test_the_saved_network_has_one_output(self, tmp_path):
        config = make_config(model="inception_v3", size=0.0625, epochs=1, num_examples=32, average_decay=0.0)
        assert carry_out(tmp_path, config, steps=("train",)) == 0
        run_dir = RunDir.of(config, tmp_path)
        model = experiments.load_file(run_dir.model)
        assert model.output_shape == (None, 10)
        assert not [weight.path for weight in model.weights if "auxiliary" in weight.path]
        counted = json.loads(run_dir.done_file("train").read_text())["trainable_parameters"]
        assert counted > sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_an_image_that_does_not_decode_is_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = tf.constant(rng.integers(255, size=(40, 40, 3)), tf.uint8)
            (tmp_path / "photos" / label / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    fields = {"dataset": f"folder:{tmp_path / 'photos'}", "epochs": 1, "batch_size": 8}
    assert carry_out(tmp_path / "runs", make_config(**fields), steps=("train",)) == 0
    damaged = tmp_path / "photos" / "dog" / "3.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    capsys.readouterr()
    assert carry_out(tmp_path / "runs", make_config(**fields, seed=1), steps=("train",)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(damaged) in line


def write_photographs(root: pathlib.Path, *splits: str, count: int = 8) -> str:
    """A folder of generated images with given splits; its name for `--dataset`."""
    rng = np.random.default_rng(0)
    for split in splits:
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = tf.constant(rng.integers(255, size=(32, 32, 3)), tf.uint8)
                (root / split / label / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return f"folder:{root}"


def test_a_run_without_a_validation_set_ends_with_all_its_figures(tmp_path, capsys):
    config = make_config(dataset=write_photographs(tmp_path / "photos", "train", "test"), batch_size=8)
    assert carry_out(tmp_path / "runs", config) == 0
    run_dir = RunDir.of(config, tmp_path / "runs")
    assert (run_dir.figures / "training.png").is_file()
    assert set(accuracies(run_dir)) == {"train", "test"}
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy:"))
    assert re.fullmatch(r"accuracy: +train \d\.\d{4}, test \d\.\d{4}", line)


def test_a_split_that_ends_with_a_whole_batch_comes_before_one_that_does_not(tmp_path):
    """1,024 training examples are eight evaluation batches; a flattening network must not learn their size."""
    config = make_config(model="alexnet", num_examples=1024, epochs=0, draws=1, levels=2, samplings=1, max_rows=50)
    assert carry_out(tmp_path, config, steps=("train", "measure")) == 0
    assert accuracies(RunDir.of(config, tmp_path))["test"]["examples"] == 539


def test_the_chosen_weight_decay_is_told(tmp_path, capsys):
    config = make_config(model="fc5", epochs=1)
    assert carry_out(tmp_path, config, keep_epochs=("1",)) == 0
    trained = json.loads(RunDir.of(config, tmp_path).done_file("train").read_text())
    assert trained["weight_decay"] in config.training.weight_decay_choices
    assert f"weight decay:  {trained['weight_decay']:g}, chosen by validation" in capsys.readouterr().out
    path = str(RunDir.of(config, tmp_path).path)
    for one, other in zip(
        experiments.load_model(path, epoch=1).weights, experiments.load_model(path).weights, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
