"""Steps that measure: every file once, under a name that its options decide, of the network that it names."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_runs import carry_out, make_config, read_weights, save_network, snapshot

import tfunits
from tfunits import datasets, experiments, measures, reports
from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, MeasureConfig
from tfunits.configs.facts import ABLATION_ORDERS
from tfunits.experiments import measured_files, measuring
from tfunits.statistics import draw_chunks

STEPS = ("train", "measure", "chunks", "kinds", "stability", "dynamics", "report")
FAST = {"draws": 2, "levels": 3, "samplings": 1, "chunk_draws": 5, "reconstruction_draws": 3}
MEASURED_ONCE = {
    "accuracy": 1, "ablation": 1, "units": 1, "chunks": 2, "reconstruction": 2, "dimension": 1, "kinds": 1,
    "stability": 2,
}  # fmt: skip
# The last epoch stays beside the first, which is asked for.
EPOCHS = (1, 4)
WITH_ARRAYS = ("units", "chunks", "reconstruction")


def tiny(**fields):
    return make_config(**{**FAST, "epochs": 4, **fields})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """A root with one run that has done every step; tests leave it as it is, or work on a copy."""
    root = tmp_path_factory.mktemp("finished")
    assert carry_out(root, tiny(), steps=STEPS, keep_epochs=("1",)) == 0
    return root


@pytest.fixture
def copied(finished, tmp_path) -> pathlib.Path:
    return shutil.copytree(finished, tmp_path / "runs")


@pytest.fixture
def run_dir(finished) -> RunDir:
    return RunDir.of(tiny(), finished)


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Names of the measures that are made from now on."""
    names = []

    def listen(name: str, measure: Callable) -> Callable:
        def make(run, model, settings):
            names.append(name)
            return measure(run, model, settings)

        return make

    for name, measure in measuring.MEASURES.items():
        monkeypatch.setitem(measuring.MEASURES, name, listen(name, measure))
    return names


def stored(run_dir: RunDir, name: str, **settings) -> dict:
    """The one JSON of a measure whose settings hold the given ones."""
    found = [json.loads(path.read_text()) for path in run_dir.measures.glob(f"{name}-*.json")]
    (one,) = (values for values in found if settings.items() <= values["settings"].items())
    return one


def arrays(run_dir: RunDir, name: str, **settings) -> dict[str, np.ndarray]:
    for path in run_dir.measures.glob(f"{name}-*.npz"):
        if settings.items() <= json.loads(path.with_suffix(".json").read_text())["settings"].items():
            return dict(np.load(path))
    raise AssertionError(f"no {name} with {settings}")


def digits():
    return datasets.load("digits", preprocessing="vector64")


def hidden_and_scores(weights: list[np.ndarray], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias, last_kernel, last_bias = (value.astype("float64") for value in weights)
    hidden = np.maximum(inputs.astype("float64") @ kernel + bias, 0)
    return hidden, hidden @ last_kernel + last_bias


class TestEveryFileOnce:
    def test_every_step_leaves_its_files(self, run_dir):
        counts = {}
        for path in run_dir.measures.iterdir():
            key = path.name.partition("-")[0] + path.suffix
            counts[key] = counts.get(key, 0) + 1
        expected = {f"{name}.json": count for name, count in MEASURED_ONCE.items()}
        expected |= {f"{name}.npz": MEASURED_ONCE[name] for name in WITH_ARRAYS}
        for epoch in EPOCHS:
            for name in MeasureConfig().dynamics:
                expected[f"{name}@{epoch}.json"] = MEASURED_ONCE[name]
                if name in WITH_ARRAYS:
                    expected[f"{name}@{epoch}.npz"] = MEASURED_ONCE[name]
        assert counts == expected
        figures = {path.name for path in run_dir.figures.iterdir()}
        assert {"chunks.png", "dynamics.png", "ablation_test_channel.png", "correlations_test.png"} <= figures
        assert set(run_dir.status()["seconds"]) == set(STEPS)

    def test_files_are_named_for_their_settings_and_say_their_epoch(self, run_dir):
        for path in run_dir.measures.glob("*.json"):
            name, epoch, digest = re.fullmatch(r"([a-z]+)(?:@(\d+))?-([0-9a-f]{8})", path.stem).groups()
            values = json.loads(path.read_text())
            canonical = json.dumps(values["settings"], sort_keys=True, separators=(",", ":"))
            assert (values["measure"], digest) == (name, hashlib.sha256(canonical.encode()).hexdigest()[:8])
            assert values.get("epoch") == (None if epoch is None else int(epoch))

    def test_a_second_call_does_nothing(self, copied, made, capsys):
        before = snapshot(copied)
        assert carry_out(copied, tiny(), steps=STEPS, keep_epochs=("1",)) == 0
        assert made == []
        assert snapshot(copied) == before
        assert "finished before" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("pattern", "measured"),
        [
            ("chunks-*.json", ["chunks"] * 2),
            ("reconstruction@4-*.npz", ["reconstruction"] * 2),
            ("kinds-*.json", ["kinds"]),
            ("units@1-*.npz", ["units"]),
            ("accuracy@4-*.json", ["accuracy"]),
        ],
    )
    def test_what_is_lost_alone_is_measured_again_with_the_same_bytes(self, copied, made, pattern, measured):
        run_dir = RunDir.of(tiny(), copied)
        before = snapshot(run_dir.measures)
        lost = list(run_dir.measures.glob(pattern))
        for path in lost:
            path.unlink()
        assert carry_out(copied, tiny(), steps=[s for s in STEPS if s != "report"]) == 0
        after = snapshot(run_dir.measures)
        assert made == measured
        assert {name: content for name, (_, content) in after.items()} == {
            name: content for name, (_, content) in before.items()
        }
        again = {path.stem for path in lost}
        for name, (time, _) in after.items():
            assert (time == before[name][0]) == (pathlib.Path(name).stem not in again)

    def test_a_kill_between_arrays_and_json_loses_one_measure(self, copied, made, monkeypatch):
        """The arrays of the second split's chunks are written, and what they belong to is not."""
        writes = 5
        run_dir, whole = RunDir.of(tiny(), copied), snapshot(RunDir.of(tiny(), copied).measures)
        shutil.rmtree(run_dir.measures)
        run_dir.logits.unlink()
        write, count = measuring.write_json, [0]

        def stop(path, values):
            count[0] += 1
            if count[0] == writes:
                raise KeyboardInterrupt
            write(path, values)

        with monkeypatch.context() as patch:
            patch.setattr(measuring, "write_json", stop)
            with pytest.raises(KeyboardInterrupt):
                carry_out(copied, tiny(), steps=STEPS[:-1])
        assert len(list(run_dir.measures.glob("*.json"))) == writes - 1
        assert run_dir.status()["state"] == "interrupted"
        first = list(made)
        made.clear()
        assert carry_out(copied, tiny(), steps=STEPS[:-1]) == 0
        assert len(first) + len(made) == len([name for name in whole if name.endswith(".json")]) + 1
        after = snapshot(run_dir.measures)
        assert {name: content for name, (_, content) in after.items()} == {
            name: content for name, (_, content) in whole.items()
        }


# Another value of every option -> the measures whose files it names anew.
OTHERS = {
    "protocol": ("authors", {"ablation"}),
    "ablation_order": (("l1_norm",), {"ablation"}),
    "draws": (5, {"ablation"}),
    "standard_error": (0.01, {"ablation"}),
    "levels": (9, {"ablation"}),
    "ablation_unit": (("location",), {"ablation"}),
    "tolerance": (0.1, set()),
    "variance_fraction": (0.9, {"kinds"}),
    "similarity_threshold": (0.9, {"units"}),
    "max_rows": (0, {"units", "kinds"}),
    "samplings": (2, {"units"}),
    "moments_precision": ("float64", {"units"}),
    "chunk_draws": (7, {"chunks"}),
    "reconstruction_draws": (7, {"reconstruction"}),
    "dynamics": (("accuracy",), set()),
    "measure_seed": (1, {"ablation", "units", "chunks", "reconstruction", "dimension", "kinds", "stability"}),
    "measured_examples": (20, set(measuring.MEASURES)),
    "measured_splits": (("train",), {"ablation", "units", "chunks", "reconstruction", "dimension", "kinds"}),
}


class TestOptions:
    def test_every_option_is_known_here(self):
        assert set(OTHERS) == {field.name for field in dataclasses.fields(MeasureConfig)}

    @pytest.mark.parametrize("field", OTHERS)
    def test_an_option_names_the_files_that_it_decides_and_no_others(self, field):
        value, expected = OTHERS[field]
        options = MeasureConfig(**{field: value})
        changed = {
            name
            for name in measuring.MEASURES
            if measured_files.settings_of(name, options) != measured_files.settings_of(name, MeasureConfig())
        }
        assert changed == expected

    def test_default_files_keep_the_names_that_they_have_on_users_disks(self):
        """Runs were measured before orders, standard errors and precisions were options."""
        settings = {
            "accuracy": {},
            "ablation": {
                "split": "test", "unit": "channel", "draws": 3, "levels": 7, "protocol": "exact", "seed": 0,
            },
            "units": {
                "split": "test", "max_rows": 50_000, "samplings": 3, "similarity_threshold": 0.5, "seed": 0,
            },
        }  # fmt: skip
        digests = {
            name: hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
            for name, values in settings.items()
        }
        names = [f"{name}-{digest}.json" for name, digest in digests.items()]
        assert experiments.measure_files(make_config()) == names
        assert experiments.measure_files(make_config(standard_error=0.1))[1] not in names
        assert experiments.measure_files(make_config(moments_precision="float64"))[2] not in names

    def test_orders_stand_beside_each_other_and_noise_knows_one_kind_of_unit(self):
        options = MeasureConfig(
            ablation_order=("random", "targeted", "noise", "weights"), ablation_unit=("channel", "location")
        )
        settings = measured_files.settings_of("ablation", options)
        assert [(s.get("order", "random"), s["unit"]) for s in settings] == [
            ("random", "channel"), ("random", "location"), ("targeted", "channel"), ("targeted", "location"),
            ("noise", "channel"), ("weights", "channel"),
        ]  # fmt: skip

    def test_chunks_are_always_of_training_data_too_and_once(self):
        for splits, expected in ((("test",), ["train", "test"]), (("test", "train"), ["train", "test"])):
            settings = measured_files.settings_of("chunks", MeasureConfig(measured_splits=splits))
            assert [values["split"] for values in settings] == expected

    def test_every_order_is_measured_as_it_is_named(self, copied):
        orders = ABLATION_ORDERS
        config = tiny(ablation_order=orders)
        run_dir = RunDir.of(config, copied)
        before = snapshot(run_dir.measures)
        assert carry_out(copied, config, steps=("measure",)) == 0
        after = snapshot(run_dir.measures)
        assert {name: after[name] for name in before} == before
        assert len(after) == len(before) + len(orders) - 1
        model, data = tfunits.load(run_dir.path), digits()
        options = {"draws": 2, "levels": 3}
        by_hand = {order: measures.ablation_curves(model, data, order=order, **options) for order in orders[:5]}
        by_hand["noise"] = measures.noise_curves(model, data, **options)
        by_hand["weights"] = measures.weight_ablation_curves(model, data, **options)
        record = reports.read_run(run_dir, config.measure)
        assert {unit for _, unit in record.curves} == {
            "channel", *(f"channel {order}" for order in orders[1:5]), "noise", "weights",
        }  # fmt: skip
        counts = {}
        for order, curves in by_hand.items():
            unit = {"random": "channel", "noise": "noise", "weights": "weights"}.get(order, f"channel {order}")
            found = record.curves["test", unit]
            counts[order] = found["hidden"].num_agreeing.tolist()
            assert counts[order] == curves.to_dict()["taps"]["hidden"]["num_agreeing"]
        # Negative control: the orders differ.
        assert len({str(rows) for rows in counts.values()}) > 4

    def test_other_options_give_further_files_and_a_new_figure(self, copied, made):
        config = tiny(chunk_draws=6, variance_fraction=0.5, ablation_order=("l1_norm", "noise"))
        run_dir = RunDir.of(config, copied)
        before = snapshot(run_dir.path)
        assert carry_out(copied, config, steps=("measure", "chunks", "kinds", "report")) == 0
        after = snapshot(run_dir.path)
        assert made == ["ablation", "ablation", "chunks", "chunks", "kinds"]
        assert {name for name in after.keys() - before.keys() if name.startswith("figures/")} == {
            "figures/ablation_test_channel_l1_norm.png", "figures/ablation_test_noise.png",
        }  # fmt: skip
        old = [name for name in before if name.startswith("measures/")]
        assert {name: after[name] for name in old} == {name: before[name] for name in old}
        assert after["figures/chunks.png"] != before["figures/chunks.png"]
        frames = [reports.tabulate([reports.read_run(run_dir, c.measure)], c.measure) for c in (tiny(), config)]
        for frame in frames:
            # Of each way of measuring its own numbers alone.
            assert not frame.duplicated(["split", "unit", "tap", "measure"]).any()
        assert len(frames[0]) == len(frames[1])
        redundant = [
            frame[(frame["measure"] == "redundant_functional") & (frame["tap"] == "network")]["value"].item()
            for frame in frames
        ]
        assert redundant[1] > redundant[0]

    def test_a_figure_of_what_is_measured_later_is_added(self, copied):
        run_dir = RunDir.of(tiny(), copied)
        for pattern in ("chunks*", "reconstruction*", "*@*"):
            for path in run_dir.measures.glob(pattern):
                path.unlink()
        shutil.rmtree(run_dir.figures)
        assert carry_out(copied, tiny()) == 0
        assert not {"chunks.png", "dynamics.png"} & {path.name for path in run_dir.figures.iterdir()}
        assert carry_out(copied, tiny(), steps=("measure", "chunks", "report")) == 0
        assert (run_dir.figures / "chunks.png").read_bytes().startswith(b"\x89PNG")
        # By commands of their own.
        assert carry_out(copied, tiny(), steps=("dynamics",)) == 0
        assert not (run_dir.figures / "dynamics.png").exists()
        assert carry_out(copied, tiny(), steps=("report",)) == 0
        assert (run_dir.figures / "dynamics.png").read_bytes().startswith(b"\x89PNG")


class TestNumbers:
    def test_chunks_of_the_trained_network(self, run_dir):
        weights = read_weights(run_dir.model)
        for split in ("train", "test"):
            part, found = digits().splits[split], stored(run_dir, "chunks", split=split)
            hidden, scores = hidden_and_scores(weights, part.inputs)
            kernel, bias = weights[2:]
            assert (found["width"], found["sizes"]) == (8, [1, 2, 4, 8])
            for size, error in zip(found["sizes"], found["errors"], strict=True):
                wrong = [
                    np.mean((hidden[:, units] @ kernel[units] + bias).argmax(axis=1) != part.labels)
                    for units in draw_chunks(8, size, 5)
                ]
                assert error == pytest.approx(np.mean(wrong), abs=1e-3)
            accuracy = stored(run_dir, "accuracy")["splits"][split]["accuracy"]
            assert found["errors"][-1] == pytest.approx(1 - accuracy, abs=1e-12)
            assert found["errors"][0] > found["errors"][-1] + 0.1
            counted = arrays(run_dir, "chunks", split=split)
            np.testing.assert_allclose(counted["num_wrong"].mean(axis=1) / len(part), found["errors"])
            np.testing.assert_array_equal(counted["wrong_draws"][-1] > 0, scores.argmax(axis=1) != part.labels)

    def test_stability_has_the_loss_and_error_of_the_trained_network(self, run_dir):
        scores = stored(run_dir, "accuracy")["splits"]["train"]
        for factor in (1.0, 2.0):
            found = stored(run_dir, "stability", factor=factor)
            assert found["loss"] == pytest.approx(scores["loss"], rel=1e-5)
            assert found["error"] == pytest.approx(1 - scores["accuracy"], abs=1e-12)
            assert len(found["dropped_loss"]) == found["settings"]["draws"] == 10
            assert min(found["dropped_loss"]) > found["loss"]

    def test_kinds_add_up_to_the_units(self, run_dir):
        found = stored(run_dir, "kinds")
        for row in (*found["taps"].values(), found["network"]):
            assert sum(v for name, v in row.items() if name not in ("units", "rank_limited")) == row["units"] == 8
        dead = np.sum(
            hidden_and_scores(read_weights(run_dir.model), digits().splits["test"].inputs)[0].max(axis=0) == 0
        )
        assert found["network"]["silent"] >= dead

    def test_the_dimension_is_that_of_the_last_hidden_layer(self, run_dir):
        model = tfunits.load(run_dir.path)
        expected = measures.intrinsic_dimension(model, digits())
        assert stored(run_dir, "dimension")["value"] == expected.value
        assert measures.intrinsic_dimension(model, digits(), split="train").value != expected.value

    def test_two_devices_give_what_one_gives(self, copied, two_devices):
        run_dir = RunDir.of(tiny(), copied)
        one = {path.name: path.read_bytes() for path in run_dir.measures.glob("*-*.json") if "@" not in path.name}
        arrays_of_one = {path.name: dict(np.load(path)) for path in run_dir.measures.glob("*-*.npz")}
        shutil.rmtree(run_dir.measures)
        run_dir.logits.unlink()
        steps = ("measure", "chunks", "kinds", "stability")
        assert carry_out(copied, tiny(), strategy=two_devices, steps=steps) == 0
        assert {path.name for path in run_dir.measures.glob("*.json")} == set(one)
        for name, content in one.items():
            assert_alike(json.loads((run_dir.measures / name).read_text()), json.loads(content))
        for path in run_dir.measures.glob("*.npz"):
            for key, values in dict(np.load(path)).items():
                assert_alike(values.tolist(), arrays_of_one[path.name][key].tolist())


def assert_alike(found, expected) -> None:
    """Equal but for the rounding of float32 sums in another order."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_alike(*pair)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)
    else:
        assert found == expected


class TestDynamics:
    @pytest.mark.parametrize("epoch", EPOCHS)
    def test_an_epoch_is_measured_as_its_network_is_by_hand(self, run_dir, epoch):
        model, data = tfunits.load(run_dir.path, epoch=epoch), digits()
        record = reports.read_dynamics(run_dir, tiny().measure)[epoch]
        for split, part in data.splits.items():
            _, scores = hidden_and_scores(model.get_weights(), part.inputs)
            assert record.accuracy[split]["accuracy"] == np.mean(scores.argmax(axis=1) == part.labels)
        units = measures.unit_statistics(model, data, samplings=1).taps["hidden"]
        np.testing.assert_array_equal(
            record.statistics["test"]["hidden"].principal_variances, units.principal_variances
        )
        for split in ("train", "test"):
            chunks = measures.chunks(model, data, draws=5, split=split)
            np.testing.assert_array_equal(record.chunks[split].num_wrong, chunks.num_wrong)
        curve = measures.reconstruction(model, data, draws=3, target="chunk")
        np.testing.assert_array_equal(record.reconstructions["test", "chunk"].held_out_r2, curve.held_out_r2)

    def test_epochs_differ_and_the_last_is_the_trained_network(self, run_dir):
        content = {
            mark: {path.name.replace(mark, ""): path.read_bytes() for path in run_dir.measures.glob(f"*{mark}-*.npz")}
            for mark in ("@1", "@3", "@4")
        }
        final = {path.name: path.read_bytes() for path in run_dir.measures.glob("*.npz") if "@" not in path.name}
        assert content["@4"] == final
        assert all(content["@1"][name] != content["@4"][name] for name in final)

    def test_the_table_says_how_far_an_epoch_is_from_the_end(self, run_dir):
        frame = pd.read_csv(run_dir.path / "dynamics.csv", keep_default_na=False)
        assert sorted(set(zip(frame["epoch"], frame["epochs_to_end"], strict=True))) == [(1, 3), (4, 0)]
        accuracy = frame[(frame["measure"] == "accuracy") & (frame["split"] == "test") & (frame["epoch"] == 4)]
        assert float(accuracy["value"].item()) == stored(run_dir, "accuracy")["splits"]["test"]["accuracy"]

    def test_an_untrained_run_has_none_and_is_finished(self, tmp_path, capsys):
        config = tiny(epochs=0)
        steps = ("train", "measure", "dynamics", "report")
        assert carry_out(tmp_path, config, steps=steps) == 0
        run_dir = RunDir.of(config, tmp_path)
        assert run_dir.status()["state"] == "finished"
        assert not list(run_dir.measures.glob("*@*"))
        assert not (run_dir.figures / "dynamics.png").exists()
        before = snapshot(tmp_path)
        assert carry_out(tmp_path, config, steps=steps) == 0
        assert snapshot(tmp_path) == before
        assert capsys.readouterr().err == ""

    def test_a_run_that_kept_none_is_refused_in_one_line_and_stays_finished(self, tmp_path, capsys):
        config = tiny(epochs=1)
        assert carry_out(tmp_path, config, save="best") == 0
        run_dir = RunDir.of(config, tmp_path)
        before = snapshot(run_dir.measures)
        capsys.readouterr()
        assert carry_out(tmp_path, config, steps=("dynamics",), save="best") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{run_dir.name}: --steps=dynamics: expected a run that kept epochs, received")
        assert "--keep_epochs" in line
        assert (snapshot(run_dir.measures), run_dir.status()["state"]) == (before, "finished")
        assert not run_dir.error_log.exists()

    def test_a_run_that_is_not_trained_is_refused_in_one_line(self, tmp_path, capsys):
        assert carry_out(tmp_path, tiny(), steps=("dynamics",)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "--steps=dynamics: expected a trained run, received" in line
        assert "add the step train, and --keep_epochs" in line

    def test_checkpoints_that_are_not_kept_leave_their_measures(self, tmp_path, made):
        """--save=best deletes them once they are measured; the same command then has nothing to do."""
        config = tiny(epochs=2, dynamics=("accuracy",))
        command = {"steps": ("train", "dynamics"), "save": "best"}
        assert carry_out(tmp_path, config, **command) == 0
        run_dir = RunDir.of(config, tmp_path)
        assert list(reports.read_dynamics(run_dir, config.measure)) == [2]
        assert not list(run_dir.checkpoints.glob("*.npz"))
        made.clear()
        assert carry_out(tmp_path, config, **command) == 0
        assert made == []
        # What was not measured in time cannot be.
        assert carry_out(tmp_path, tiny(epochs=2, dynamics=("accuracy", "units")), **command) == 1

    def test_any_measure_can_be_followed_alone(self, copied):
        config, column = tiny(dynamics=("kinds",)), "distinct_functional"
        assert carry_out(copied, config, steps=("dynamics", "report")) == 0
        run_dir = RunDir.of(config, copied)
        frame = reports.tabulate_dynamics(run_dir, config.measure)
        assert list(dict.fromkeys(frame[frame["measure"] == column]["epoch"])) == list(EPOCHS)
        assert (run_dir.path / "dynamics.csv").stat().st_size > 0

    def test_a_chosen_weight_decay_is_followed_in_its_own_training(self, tmp_path):
        """And one output is measured with the loss that it was trained with, not with the hinge loss of any score."""
        fields = {
            "model": "fc5",
            "size": 0.125,
            "num_examples": 64,
            "batch_size": 64,
            "weight_decay_choices": (0.0, 0.1),
            "loss": "squared_hinge",
        }
        config = tiny(**fields, epochs=1, dynamics=("accuracy",))
        steps = ("train", "measure", "stability", "dynamics")
        assert carry_out(tmp_path, config, steps=steps, keep_epochs=("1",)) == 0
        run_dir = RunDir.of(config, tmp_path)
        (followed,) = reports.read_dynamics(run_dir, config.measure).values()
        assert followed.accuracy == reports.read_run(run_dir, config.measure).accuracy
        expected = followed.accuracy["train"]["loss"]
        assert stored(run_dir, "stability", factor=1.0)["loss"] == pytest.approx(expected, rel=1e-5)


class TestOwnNetworks:
    @pytest.mark.parametrize("step", ["train", "dynamics"])
    def test_a_file_is_neither_trained_nor_followed(self, tmp_path, step):
        config = make_config(model=save_network(tmp_path / "own.keras", (64,)), preprocessing="vector64")
        with pytest.raises(ValueError, match=rf"--steps=measure,{step}: expected no train or dynamics for a file"):
            experiments.steps_of(config, ExecutionConfig(steps=("measure", step)))
        assert not list(tmp_path.glob("own-*"))

    def test_a_file_has_chunks_kinds_and_stability(self, tmp_path, capsys):
        config = make_config(model=save_network(tmp_path / "own.keras", (64,)), preprocessing="vector64", **FAST)
        steps = ("measure", "chunks", "kinds", "stability", "report")
        assert carry_out(tmp_path, config, steps=steps) == 0
        run_dir = RunDir.of(config, tmp_path)
        accuracy = stored(run_dir, "accuracy")["splits"]
        chunks = stored(run_dir, "chunks", split="test")
        assert (chunks["width"], chunks["sizes"]) == (6, [1, 2, 4, 6])
        assert chunks["errors"][-1] == pytest.approx(1 - accuracy["test"]["accuracy"])
        stability = stored(run_dir, "stability", factor=1.0)
        assert stability["error"] == pytest.approx(1 - accuracy["train"]["accuracy"])
        assert (run_dir.figures / "chunks.png").is_file()
        assert capsys.readouterr().err == ""

    def test_a_dead_last_layer_ends_no_step(self, tmp_path, capsys):
        """It has no dimension, its chunks all err alike, and nothing reconstructs what never changes."""
        name = save_network(tmp_path / "own.keras", (64,))
        model = keras.models.load_model(tmp_path / "own.keras")
        hidden = model.get_layer("hidden")
        hidden.set_weights([0 * hidden.get_weights()[0], hidden.get_weights()[1] - 1])
        model.save(tmp_path / "own.keras")
        config = make_config(model=name, preprocessing="vector64", **FAST)
        assert carry_out(tmp_path, config, steps=("measure", "chunks", "kinds", "stability", "report")) == 0
        run_dir = RunDir.of(config, tmp_path)
        found = stored(run_dir, "dimension")
        assert (found["value"], "expected at least 3 different ones" in found["reason"]) == (None, True)
        assert len(set(stored(run_dir, "chunks", split="test")["errors"])) == 1
        assert stored(run_dir, "kinds")["network"]["silent"] == 6
        frame = reports.load(tmp_path, config.measure)
        assert np.isnan(frame[frame["measure"] == "intrinsic_dimension"]["value"].item())
        assert "traceback" not in capsys.readouterr().err


class TestRefusals:
    def refuse(self, *_args, **_options):
        raise ValueError("data: expected more of it")

    def test_a_refused_measure_stops_no_other_of_its_step(self, copied, monkeypatch, capsys):
        run_dir = RunDir.of(tiny(), copied)
        for path in [*run_dir.measures.glob("chunks-*"), *run_dir.measures.glob("reconstruction-*")]:
            path.unlink()
        for path in run_dir.measures.glob("dimension-*"):
            path.unlink()
        monkeypatch.setattr(measures, "chunks", self.refuse)
        assert carry_out(copied, tiny(), steps=("chunks",)) != 0
        error = capsys.readouterr().err
        assert error.count("chunks: data: expected more of it") == 1
        assert "Traceback" not in error
        counts = {name: len([*run_dir.measures.glob(f"{name}-*.json")]) for name in MEASURED_ONCE}
        assert counts == {**MEASURED_ONCE, "chunks": 0}
        monkeypatch.undo()
        assert carry_out(copied, tiny(), steps=("chunks",)) == 0
        assert len([*run_dir.measures.glob("chunks-*.json")]) == 2

    def test_an_epoch_that_refuses_a_measure_leaves_the_other_epochs_theirs(self, copied, monkeypatch, capsys):
        run_dir = RunDir.of(tiny(), copied)
        for path in run_dir.measures.glob("*@*"):
            path.unlink()
        monkeypatch.setattr(measures, "reconstruction", self.refuse)
        assert carry_out(copied, tiny(), steps=("dynamics",)) != 0
        assert capsys.readouterr().err.count("reconstruction: data: expected more of it") == 1
        for epoch in EPOCHS:
            assert len([*run_dir.measures.glob(f"chunks@{epoch}-*.npz")]) == MEASURED_ONCE["chunks"]
        assert not [*run_dir.measures.glob("reconstruction@*")]


class TestSaving:
    def test_metrics_keep_the_weights_until_every_step_asked_for_is_done(self, tmp_path, monkeypatch):
        config, steps = tiny(epochs=1), ("train", "measure", "chunks", "kinds")
        run_dir = RunDir.of(config, tmp_path)

        def fail(run):
            assert run.run_dir.model.is_file()
            raise RuntimeError("stopped here")

        with monkeypatch.context() as patch:
            patch.setitem(experiments.STEP_FUNCTIONS, "kinds", fail)
            assert carry_out(tmp_path, config, steps=steps, save="metrics") == 1
        assert run_dir.model.is_file()
        # Not measured yet: chunks alone do not take the weights away.
        shutil.rmtree(run_dir.measures)
        assert carry_out(tmp_path, config, steps=("chunks",), save="metrics") == 0
        assert run_dir.model.is_file()
        assert carry_out(tmp_path, config, steps=steps, save="metrics") == 0
        assert not run_dir.model.exists()
        before = snapshot(run_dir.path)
        assert carry_out(tmp_path, config, steps=steps, save="metrics") == 0
        assert snapshot(run_dir.path) == before

    def test_dynamics_after_metrics_needs_the_kept_epochs_alone(self, tmp_path):
        config = tiny(epochs=2, dynamics=("accuracy",))
        assert carry_out(tmp_path, config, save="metrics", keep_epochs=("1",)) == 0
        run_dir = RunDir.of(config, tmp_path)
        assert not run_dir.model.exists()
        assert carry_out(tmp_path, config, steps=("dynamics",), save="metrics") == 0
        assert list(reports.read_dynamics(run_dir, config.measure)) == [1]
