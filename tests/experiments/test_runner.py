"""A grid in this process: what a run leaves, what is skipped, kept, refused, and how bad runs end."""

import importlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_runs import carry_out, make_config, measure_names, read_weights, save_network, snapshot

import tfunits
from tfunits import experiments, reports
from tfunits.artifacts import RunDir
from tfunits.configs import Cluster, ExecutionConfig, UserError, as_dict, resolve


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A root with one finished run; tests leave it as it is, or work on a copy."""
    root = tmp_path_factory.mktemp("finished")
    assert carry_out(root, make_config()) == 0
    return root


@pytest.fixture
def copied(finished, tmp_path):
    """A root of its own with the same finished run."""
    return shutil.copytree(finished, tmp_path / "runs")


def test_a_run_leaves_every_file_of_its_directory(finished):
    run_dir = RunDir.of(make_config(), finished)
    names = {re.sub(r"-[0-9a-f]{8}(?=\.)", "-*", name) for name in snapshot(run_dir.path)}
    events = {name for name in names if name.startswith("tensorboard/events.out.tfevents")}
    checkpoints = {name for name in names if name.startswith("checkpoints/")}
    assert events
    assert {"checkpoints/epoch-00001.npz", "checkpoints/epoch-00002.npz"} < checkpoints
    assert names - events - checkpoints == {
        "config.json", "environment.json", "status.json", "history.csv", "timing.csv", "logits.npz",
        "model.keras", "best.keras",
        "measures/accuracy-*.json", "measures/ablation-*.json", "measures/units-*.json", "measures/units-*.npz",
        "figures/ablation_test_channel.png", "figures/correlations_test.png", "figures/training.png",
        "done/train.json", "done/report.json",
    }  # fmt: skip


def test_a_run_says_what_it_was_made_with(finished):
    config = make_config()
    run_dir = RunDir.of(config, finished)
    assert json.loads(run_dir.config_file.read_text()) == {"run_id": run_dir.name, **as_dict(config)}
    environment = json.loads(run_dir.environment.read_text())
    assert environment["packages"]["tensorflow"].startswith("2.")
    assert (environment["seed"], environment["data_seed"], environment["devices"]) == (0, 0, ["CPU:0"])
    assert environment["deterministic"] is True
    assert {"code_revision", "command", "python", "num_cpus"} < set(environment)
    status = run_dir.status()
    assert (status["state"], set(status["seconds"])) == ("finished", {"train", "measure", "report"})


def test_a_run_agrees_with_itself(finished):
    """Logits, accuracy, history and weights are the same network's."""
    run_dir = RunDir.of(make_config(), finished)
    logits = np.load(run_dir.logits)
    data = tfunits.datasets.load("digits", preprocessing="vector64")
    kernel, bias, last_kernel, last_bias = (value.astype("float64") for value in read_weights(run_dir.model))
    (accuracy_file,) = run_dir.measures.glob("accuracy-*.json")
    accuracy = json.loads(accuracy_file.read_text())["splits"]
    for split, part in data.splits.items():
        outputs = np.maximum(part.inputs @ kernel + bias, 0) @ last_kernel + last_bias
        np.testing.assert_allclose(logits[split], outputs, atol=1e-4)
        np.testing.assert_array_equal(logits[f"{split}_labels"], part.labels)
        assert accuracy[split]["accuracy"] == np.mean(outputs.argmax(axis=1) == part.labels)
        losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(part)), part.labels]
        np.testing.assert_allclose(accuracy[split]["loss"], losses.mean(), rtol=1e-5)
    last = pd.read_csv(run_dir.history).iloc[-1]
    assert last["validation_accuracy"] == accuracy["validation"]["accuracy"]
    np.testing.assert_allclose(last["validation_loss"], accuracy["validation"]["loss"], rtol=1e-6)


def test_a_second_call_does_nothing(finished, capsys):
    before = snapshot(finished)
    assert carry_out(finished, make_config()) == 0
    assert snapshot(finished) == before
    output = capsys.readouterr().out
    assert f"[1/1] {RunDir.of(make_config(), finished).name}: finished before" in output
    assert "accuracy:" in output


def test_other_measure_options_only_measure(copied, capsys):
    run_dir = RunDir.of(make_config(), copied)
    before = snapshot(run_dir.path)
    assert carry_out(copied, make_config(measured_splits=("train",), draws=2)) == 0
    assert ": measure, report" in capsys.readouterr().out
    after = snapshot(run_dir.path)
    changed = {name for name in after if after[name] != before.get(name)}
    assert all(name.split("/")[0] in ("measures", "figures", "done", "tensorboard", "status.json") for name in changed)
    assert {name: after[name] for name in before if name.startswith("measures")} == {
        name: content for name, content in before.items() if name.startswith("measures")
    }
    assert len([name for name in changed if re.match(r"measures/(ablation|units)-\w+\.json", name)]) == 2


def test_other_report_options_only_report(copied, capsys):
    before = snapshot(RunDir.of(make_config(), copied).measures)
    assert carry_out(copied, make_config(tolerance=0.1)) == 0
    assert ": report\n" in capsys.readouterr().out
    assert snapshot(RunDir.of(make_config(), copied).measures) == before


@pytest.mark.parametrize(
    ("save", "kept"),
    [
        ("metrics", set()),
        ("best", {"model.keras"}),
        ("all", {"model.keras", "best.keras", "checkpoints/epoch-00001.npz"}),
    ],
)
def test_save_keeps_what_it_says(tmp_path, save, kept):
    config = make_config(epochs=1)
    assert carry_out(tmp_path, config, save=save) == 0
    run_dir = RunDir.of(config, tmp_path)
    names = set(snapshot(run_dir.path)) - {"checkpoints/best-00001.npz"}
    assert {name for name in names if name.endswith(".keras") or name.startswith("checkpoints")} == kept
    assert measure_names(run_dir) == {"accuracy.json", "ablation.json", "units.json", "units.npz"}
    assert run_dir.logits.is_file()
    # What is not kept is not needed for a second call, only for other measures.
    assert carry_out(tmp_path, config, save=save) == 0
    assert carry_out(tmp_path, make_config(epochs=1, draws=2), save=save) == (save == "metrics")
    if save == "metrics":
        # The command fails, but nothing is taken from what was finished before.
        assert run_dir.status()["state"] == "finished"
        assert "its weights were not kept (--save=metrics)" in run_dir.status()["message"]


def test_metrics_of_a_run_that_is_not_yet_measured_keep_its_weights(tmp_path):
    config = make_config(epochs=1)
    assert carry_out(tmp_path, config, save="metrics", steps=("train",)) == 0
    assert RunDir.of(config, tmp_path).model.is_file()
    assert carry_out(tmp_path, config, save="metrics") == 0
    assert not RunDir.of(config, tmp_path).model.exists()


def test_both_best_and_last_weights_are_kept(tmp_path):
    # A rate at which accuracy goes up and down.
    config = make_config(epochs=6, learning_rate=0.3, measured_weights="best")
    assert carry_out(tmp_path, config, steps=("train",)) == 0
    run_dir = RunDir.of(config, tmp_path)
    history = pd.read_csv(run_dir.history)["validation_accuracy"]
    data = tfunits.datasets.load("digits", preprocessing="vector64").splits["validation"]

    def accuracy(path) -> float:
        kernel, bias, last_kernel, last_bias = read_weights(path)
        outputs = np.maximum(data.inputs @ kernel + bias, 0) @ last_kernel + last_bias
        return np.mean(outputs.argmax(axis=1) == data.labels)

    assert accuracy(run_dir.model) == history.max() > history.iloc[-1] == accuracy(run_dir.path / "last.keras")
    assert not (run_dir.path / "best.keras").exists()


def test_no_epoch_measures_the_untrained_network(tmp_path):
    config = make_config(epochs=0)
    assert carry_out(tmp_path, config) == 0
    run_dir = RunDir.of(config, tmp_path)
    initial = tfunits.models.build(
        "mlp", size=0.0625, input_shape=(64,), num_classes=10, initializer="truncated_normal"
    )
    for stored, value in zip(read_weights(run_dir.model), initial.variables, strict=True):
        np.testing.assert_array_equal(stored, value.numpy())
    assert not run_dir.history.exists()
    assert measure_names(run_dir) == {"accuracy.json", "ablation.json", "units.json", "units.npz"}


class TestBadRuns:
    def test_a_diverged_run_ends_nothing_else_and_is_no_result(self, tmp_path, capsys):
        bad, good = make_config(learning_rate=1e30, seed=1), make_config(epochs=1)
        assert carry_out(tmp_path, bad, good) == 1
        bad_dir, good_dir = RunDir.of(bad, tmp_path), RunDir.of(good, tmp_path)
        assert (bad_dir.status()["state"], good_dir.status()["state"]) == ("diverged", "finished")
        message = "--learning_rate=1e+30: expected a rate that converges; the loss was not finite in epoch 1"
        assert f"{bad_dir.name}: {message}\n" in capsys.readouterr().err

        for steps in (None, ("measure",), ("report",)):
            assert carry_out(tmp_path, bad, steps=steps) == 1
            assert "diverged when it was trained; skipped" in capsys.readouterr().out
        assert not bad_dir.measures.exists()
        assert not bad_dir.model.exists()
        assert set(reports.load(tmp_path)["run"]) == {good_dir.name}
        with pytest.raises(ValueError, match="run_or_file: expected a run that kept its weights"):
            tfunits.load(str(bad_dir.path))

    def test_a_report_of_runs_that_are_not_there_makes_none(self, copied, tmp_path, capsys):
        there, missing = make_config(), [make_config(seed=seed) for seed in (1, 2)]
        assert carry_out(copied, there, *missing, steps=("report",)) == 1
        name = RunDir.of(missing[0], copied).name
        assert f"left out: {name} and 1 more: missing; without --steps=report" in capsys.readouterr().err
        assert [path.name for path in copied.glob("*/config.json")] == ["config.json"]
        # A status that is lost is no run that is.
        (RunDir.of(there, copied).path / "status.json").unlink()
        assert carry_out(copied, there, steps=("report",)) == 0
        assert carry_out(tmp_path, there, steps=("report",), shard="2/2") == 0
        assert carry_out(tmp_path, *missing, steps=("report",), shard="1/2") == 1
        with pytest.raises(UserError, match="--run_root: expected measured runs, received .* without any of this grid"):
            carry_out(tmp_path / "empty", *missing, steps=("report",))
        assert not (tmp_path / "empty").exists()

    def test_a_report_by_several_machines_makes_none_either(self, copied, monkeypatch, capsys):
        machines, carried = importlib.import_module("tfunits.experiments.machines"), []
        monkeypatch.setattr(
            machines, "train_together", lambda *given: given[-1](lambda batch, _: carried.extend(batch.names) or {})
        )
        there, missing = make_config(), make_config(seed=1)
        options = ExecutionConfig(run_root=str(copied), steps=("report",))
        cluster = Cluster(workers=("chief:1", "other:1"), index=0)
        assert experiments.run_grid([there, missing], options, cluster=cluster) == 1
        assert carried == [RunDir.of(there, copied).name]
        assert f"left out: {RunDir.of(missing, copied).name}: missing" in capsys.readouterr().err
        assert not RunDir.of(missing, copied).path.exists()

    def test_measuring_without_training_fails_in_one_line(self, tmp_path, capsys):
        config = make_config()
        assert carry_out(tmp_path, config, steps=("measure",)) == 1
        run_dir = RunDir.of(config, tmp_path)
        message = f"--steps: expected the trained weights of {run_dir.name}; it is not trained; add the step train"
        assert capsys.readouterr().err == f"{run_dir.name}: {message}\n"
        assert (run_dir.status()["state"], run_dir.status()["message"]) == ("failed", message)
        assert not run_dir.error_log.exists()

    def test_a_failed_run_can_be_carried_out_later(self, tmp_path):
        config = make_config(epochs=1)
        assert carry_out(tmp_path, config, steps=("measure",)) == 1
        assert carry_out(tmp_path, config) == 0
        assert RunDir.of(config, tmp_path).status()["state"] == "finished"
        assert RunDir.of(config, tmp_path).status()["message"] == ""

    def test_a_file_system_error_is_one_line(self, copied, capsys):
        config = make_config(tolerance=0.3)
        run_dir = RunDir.of(config, copied)
        shutil.rmtree(run_dir.figures)
        run_dir.figures.write_text("in the way")
        assert carry_out(copied, config) == 1
        assert capsys.readouterr().err == f"{run_dir.name}: File exists: {run_dir.figures}\n"
        # What was trained and measured before is still a result.
        status = run_dir.status()
        assert (status["state"], status["message"]) == ("finished", f"File exists: {run_dir.figures}")

    def test_an_unforeseen_error_leaves_its_traceback_with_the_run(self, tmp_path, monkeypatch, capsys):
        def fail(run):
            raise RuntimeError("first line\nwhat is wrong")

        monkeypatch.setitem(experiments.STEP_FUNCTIONS, "measure", fail)
        bad, good = make_config(epochs=1), make_config(epochs=1, seed=1)
        assert carry_out(tmp_path, bad, good, steps=("train", "measure")) == 1
        run_dir = RunDir.of(bad, tmp_path)
        assert f"{run_dir.name}: what is wrong (traceback in {run_dir.error_log})\n" in capsys.readouterr().err
        assert 'raise RuntimeError("first line' in run_dir.error_log.read_text()
        assert RunDir.of(good, tmp_path).is_done("train")

    def test_an_interruption_is_passed_on_and_noted(self, tmp_path, monkeypatch):
        def stop(run):
            raise KeyboardInterrupt

        config = make_config(epochs=1)
        monkeypatch.setitem(experiments.STEP_FUNCTIONS, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            carry_out(tmp_path, config)
        monkeypatch.undo()
        assert RunDir.of(config, tmp_path).status()["state"] == "interrupted"
        assert carry_out(tmp_path, config) == 0
        assert RunDir.of(config, tmp_path).status()["state"] == "finished"

    def test_settings_that_only_the_network_can_refuse_are_one_line(self, tmp_path, capsys):
        assert carry_out(tmp_path, make_config(weight_decay=0.1, decayed_variables="conv")) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "--decayed_variables=conv: expected a pattern that matches variables; their paths are like" in line
        assert "traceback" not in line

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "mlp", "dataset": "uncorrelated10", "loss": "hinge"},
            {"model": "fc5", "loss": "cross_entropy"},
        ],
        ids=lambda fields: fields["model"],
    )
    def test_a_loss_that_the_networks_outputs_do_not_fit_is_refused(self, fields):
        with pytest.raises(ValueError, match=f"--loss={fields['loss']}: expected"):
            resolve(fields)


class TestKilledAtTheWorstMoment:
    """States of a directory that a killed process can leave; child processes are killed in test_kill.py."""

    def test_before_its_last_status(self, copied):
        run_dir = RunDir.of(make_config(), copied)
        run_dir.set_status("running", step="report")
        assert carry_out(copied, make_config()) == 0
        assert run_dir.status()["state"] == "finished"

    def test_before_the_done_file_of_training(self, copied):
        run_dir = RunDir.of(make_config(), copied)
        before = snapshot(run_dir.path)
        run_dir.done_file("train").unlink()
        assert carry_out(copied, make_config()) == 0
        after = snapshot(run_dir.path)
        for name in ("history.csv", "done/train.json", "checkpoints/epoch-00002.npz"):
            assert after[name][1] == before[name][1]

    def test_before_a_measure_was_written(self, copied):
        run_dir = RunDir.of(make_config(), copied)
        before = snapshot(run_dir.path)
        (lost,) = run_dir.measures.glob("units-*.json")
        lost.unlink()
        run_dir.done_file("report").unlink()
        assert carry_out(copied, make_config()) == 0
        after = snapshot(run_dir.measures)
        assert after.keys() == {name[9:] for name in before if name.startswith("measures/")}
        for name, (time, content) in after.items():
            assert content == before[f"measures/{name}"][1]
            # Nothing is measured twice.
            assert (time == before[f"measures/{name}"][0]) == (not name.startswith("units"))

    def test_before_it_deleted_what_is_not_kept(self, copied):
        run_dir = RunDir.of(make_config(), copied)
        run_dir.set_status("running", step="report")
        assert carry_out(copied, make_config(), save="metrics") == 0
        assert not run_dir.model.exists()
        assert not list(run_dir.checkpoints.glob("*.npz"))

    def test_while_it_wrote(self, copied):
        run_dir = RunDir.of(make_config(), copied)
        leftover = run_dir.measures / ".part-1234-units.npz"
        leftover.write_bytes(b"half")
        assert carry_out(copied, make_config()) == 0
        assert not leftover.exists()


class TestReports:
    def test_a_report_before_a_measure_is_refused_and_does_not_stand_in_for_the_one_after_it(self, tmp_path, capsys):
        config = make_config(epochs=1)
        assert carry_out(tmp_path, config, steps=("train", "report")) == 1
        run_dir = RunDir.of(config, tmp_path)
        message = f"--steps=report: expected a measured run, received {run_dir.name}; add the step measure"
        assert capsys.readouterr().err == f"{run_dir.name}: {message}\n"
        assert carry_out(tmp_path, config) == 0
        assert (run_dir.figures / "ablation_test_channel.png").is_file()

    @pytest.mark.parametrize("pattern", ["accuracy-*.json", "units-*.json", "units-*.npz"])
    def test_a_damaged_measure_is_made_again_once_the_file_that_the_error_names_is_deleted(
        self, copied, pattern, capsys
    ):
        run_dir = RunDir.of(make_config(), copied)
        before = {name: content for name, (_, content) in snapshot(run_dir.measures).items()}
        (damaged,) = run_dir.measures.glob(pattern)
        damaged.write_bytes(damaged.read_bytes()[:-40])
        assert carry_out(copied, make_config()) == 1
        problem = f"left out of the results: {run_dir.name}: {damaged}: expected"
        assert problem in capsys.readouterr().err
        damaged.unlink()
        assert carry_out(copied, make_config()) == 0
        assert {name: content for name, (_, content) in snapshot(run_dir.measures).items()} == before

    def test_a_grid_over_sizes_writes_tables_gains_and_a_plot(self, tmp_path, capsys):
        configs = [make_config(size=size, seed=seed, epochs=0) for size in (0.0625, 0.125) for seed in (0, 1)]
        assert carry_out(tmp_path, *configs) == 0
        (folder,) = tmp_path.glob("grid-*")
        assert {path.name for path in folder.iterdir()} == {
            "runs.csv", "gains.csv", "width.png", "tensorboard", "report.html",
        }  # fmt: skip
        assert (folder / "width.png").read_bytes().startswith(b"\x89PNG")
        runs = pd.read_csv(folder / "runs.csv")
        assert runs["run"].tolist() == [RunDir.of(config, tmp_path).name for config in configs]
        assert set(runs["state"]) == {"finished"}
        logits = np.load(RunDir.of(configs[2], tmp_path).logits)
        accuracy = np.mean(logits["test"].argmax(axis=1) == logits["test_labels"])
        assert runs["test_accuracy"][2] == pytest.approx(accuracy, abs=1e-12)

        gains = pd.read_csv(folder / "gains.csv").set_index("measure")
        means = runs.groupby("size")[["prunability", "redundancy", "similarity"]].mean()
        growing = [name for name in means if means[name].all()]
        assert "prunability" in growing
        for name in growing:
            narrow, wide = means[name]
            assert gains.loc[name, "gain"] == pytest.approx(wide / narrow)
            assert gains.loc[name, "doublings"] == 1
        output = capsys.readouterr().out
        assert "gains per doubling of width:" in output
        assert f"grid report: {folder / 'runs.csv'}" in output

    @pytest.mark.parametrize("content", ["{", "[]"])
    def test_a_finished_run_with_a_damaged_environment_is_named_and_the_others_are_drawn(self, copied, content, capsys):
        bad, good = make_config(), make_config(seed=1, epochs=0)
        run_dir = RunDir.of(bad, copied)
        run_dir.environment.write_text(content)
        assert carry_out(copied, bad, good) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"left out of the results: {run_dir.name}: {run_dir.environment}: expected")
        (folder,) = copied.glob("grid-*")
        assert pd.read_csv(folder / "runs.csv")["run"].tolist() == [RunDir.of(good, copied).name]

    def test_a_damaged_run_is_named_and_the_others_are_carried_out_and_drawn(self, copied, capsys):
        bad, good = (RunDir.of(config, copied) for config in (make_config(seed=1), make_config()))
        bad.path.mkdir()
        bad.config_file.write_text("{")
        options = {"steps": ("train", "measure"), "export": str(copied / "out" / "all.parquet")}
        assert carry_out(copied, make_config(seed=1), make_config(), **options) == 1
        output = capsys.readouterr()
        first, second = output.err.splitlines()
        assert first.startswith(f"[1/2] {bad.name}: {bad.path}: expected the run's own configuration")
        assert second.startswith(f"left out of the results: {bad.name}: {bad.config_file}: expected JSON")
        assert [path.name for path in bad.path.iterdir() if path.name[0] != "."] == ["config.json"]
        (folder,) = copied.glob("grid-*")
        assert pd.read_csv(folder / "runs.csv")["run"].tolist() == [good.name]
        assert f"{bad.name} is damaged and left out" in (folder / "report.html").read_text()
        exported = pd.read_parquet(copied / "out" / "all.parquet")
        pd.testing.assert_frame_equal(exported, reports.tabulate_settings([reports.read_run(good)]))
        assert f"exported:      {copied / 'out' / 'all.parquet'}" in output.out

    def test_untrained_twins_anywhere_in_the_root_stand_beside_the_gains(self, tmp_path):
        """And chunks of the widest network beside whole ones."""
        sizes, fast = (0.0625, 0.125), {"draws": 1, "levels": 7, "samplings": 1, "chunk_draws": 3}
        before, after = ([make_config(size=size, epochs=epochs, **fast) for size in sizes] for epochs in (0, 1))
        assert carry_out(tmp_path, *after, steps=("train", "measure")) == 0
        (folder,) = tmp_path.glob("grid-*")
        assert "untrained_gain" not in pd.read_csv(folder / "gains.csv")
        for config in before:
            assert carry_out(tmp_path, config, steps=("train", "measure")) == 0
        assert carry_out(tmp_path, *after, steps=("measure", "chunks")) == 0
        gains = pd.read_csv(folder / "gains.csv").set_index("measure")["untrained_gain"]
        frame = reports.load(tmp_path, before[0].measure)
        names = [RunDir.of(config, tmp_path).name for config in before]
        own = frame[(frame["tap"] == "network") & (frame["measure"] == "prunability")].set_index("run")["value"]
        assert gains["prunability"] == pytest.approx(own[names[1]] / own[names[0]])
        chunks = pd.read_csv(folder / "chunks.csv")
        assert set(chunks["width"]) == {8, 16}
        assert set(chunks["networks"]) == {1}

    def test_a_grid_leaves_its_finished_runs_alone(self, copied):
        first, second = make_config(), make_config(seed=1, epochs=1)
        before = snapshot(RunDir.of(first, copied).path)
        assert carry_out(copied, first, second) == 0
        assert snapshot(RunDir.of(first, copied).path) == before
        assert RunDir.of(second, copied).status()["state"] == "finished"


class TestDevices:
    def test_two_devices_give_what_one_gives(self, finished, tmp_path, two_devices):
        config = make_config()
        assert carry_out(tmp_path, config, strategy=two_devices) == 0
        one, two = RunDir.of(config, finished), RunDir.of(config, tmp_path)
        assert len(json.loads(two.environment.read_text())["devices"]) == 2
        # 68 steps, each some 1e-7 apart.
        np.testing.assert_allclose(np.load(two.logits)["test"], np.load(one.logits)["test"], atol=1e-4)
        assert measure_names(two) == measure_names(one)


class TestData:
    def test_fc5_on_parity(self, tmp_path):
        config = make_config(model="fc5", epochs=1, draws=1, levels=2)
        assert carry_out(tmp_path, config) == 0
        run_dir = RunDir.of(config, tmp_path)
        logits = np.load(run_dir.logits)
        assert logits["test"].shape == (539, 1)
        (file,) = run_dir.measures.glob("accuracy-*.json")
        scores = json.loads(file.read_text())["splits"]["test"]
        labels, outputs = logits["test_labels"], logits["test"][:, 0].astype("float64")
        assert scores["accuracy"] == np.mean((outputs > 0) == labels)
        np.testing.assert_allclose(scores["loss"], np.maximum(0, 1 - (2 * labels - 1) * outputs).mean(), rtol=1e-6)
        frame = reports.load(tmp_path, config.measure)
        assert {"hidden1", "hidden2", "hidden3", "hidden4", "network"} <= set(frame["tap"])

    def test_random_labels_are_learned_and_do_not_generalize(self, tmp_path):
        fields = {"num_examples": 40, "size": 1, "epochs": 25, "learning_rate": 0.3, "initializer": "he_normal"}
        config = make_config(random_labels=True, draws=1, levels=2, **fields)
        assert carry_out(tmp_path, config, steps=("train", "measure")) == 0
        logits = np.load(RunDir.of(config, tmp_path).logits)
        true = tfunits.datasets.load("digits", preprocessing="vector64")
        assert np.mean(logits["train_labels"] == true.splits["train"].labels[:40]) < 0.4
        np.testing.assert_array_equal(logits["test_labels"], true.splits["test"].labels)
        accuracy = {s: np.mean(logits[s].argmax(axis=1) == logits[f"{s}_labels"]) for s in ("train", "test")}
        assert accuracy["train"] > 0.9
        assert accuracy["test"] < 0.35


class TestConfiguration:
    def test_a_directory_of_another_experiment_is_refused(self, copied, capsys):
        run_dir, other = RunDir.of(make_config(), copied), make_config(learning_rate=0.5)
        run_dir.path.rename(RunDir.of(other, copied).path)
        before = snapshot(copied)
        message = "expected the run's own configuration in config.json, received another or a damaged one; move the dir"
        assert carry_out(copied, other) == 1
        output = capsys.readouterr()
        assert message in output.err
        assert f"left out of the results: {RunDir.of(other, copied).name}: it holds another experiment" in output.err
        assert "prunability" not in output.out
        assert snapshot(copied) == before

    def test_a_directory_of_strangers_is_refused(self, tmp_path, capsys):
        run_dir = RunDir.of(make_config(), tmp_path)
        run_dir.path.mkdir()
        (run_dir.path / "thesis.tex").write_text("mine")
        assert carry_out(tmp_path, make_config()) == 1
        assert "expected an empty directory or a run, received thesis.tex without config" in capsys.readouterr().err
        assert not (run_dir.path / "config.json").exists()

    def test_a_root_that_cannot_be_a_folder_is_refused(self, tmp_path):
        (tmp_path / "runs").write_text("a file")
        with pytest.raises(ValueError, match="--run_root=.*/runs: expected a folder that can be written, received"):
            carry_out(tmp_path / "runs", make_config())

    def test_training_a_users_network_is_refused_before_anything_runs(self, tmp_path):
        model = save_network(tmp_path / "own.keras", (64,))
        configs = make_config(), make_config(model=model, preprocessing="vector64")
        with pytest.raises(ValueError, match="--steps=train,measure: expected no train or dynamics for a file: model"):
            carry_out(tmp_path / "runs", *configs, steps=("train", "measure"))
        assert not (tmp_path / "runs").exists()
