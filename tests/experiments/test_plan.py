"""The plan of a grid."""

from tiny_runs import carry_out, make_config, save_network, snapshot

from tfunits import experiments
from tfunits.artifacts import RunDir
from tfunits.configs import ExecutionConfig, sum_costs
from tfunits.experiments.plan import describe_cost, describe_together


def plan(root, *configs, **execution) -> list:
    return experiments.plan_grid(configs, ExecutionConfig(run_root=str(root), **execution))


def test_a_plan_names_runs_parameters_steps_and_creates_nothing(tmp_path, capsys):
    root = tmp_path / "runs"
    configs = [make_config(size=size, epochs=3) for size in (0.0625, 1)]
    plan(root, *configs)
    header, narrow, wide, cost, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "parameters", "steps", "done", "state"]
    # 64 n + n + 10 n + 10 weights of n hidden units; 34 batches of 32 hold 1,078 examples.
    assert narrow.split() == [RunDir.of(configs[0], root).name, "610", "102", "-", "new"]
    assert wide.split() == [RunDir.of(configs[1], root).name, "9,610", "102", "-", "new"]
    # Three passes of two operations a weight for 1,078 examples, and one for 180, in three epochs.
    assert cost.startswith(f"cost: 10,220 parameters, {3 * 2 * (592 + 9472) * (3 * 1078 + 180):.2g} training FLOPs; ")
    assert total == f"2 runs in {root}, 0 finished; nothing was run"
    assert not list(tmp_path.iterdir())


def test_a_plan_says_what_is_done(tmp_path, capsys):
    half, whole = make_config(epochs=0, seed=1), make_config(epochs=0)
    assert carry_out(tmp_path, half, steps=("train",)) == carry_out(tmp_path, whole) == 0
    before = snapshot(tmp_path)
    capsys.readouterr()
    plan(tmp_path, half, whole, make_config(epochs=0, seed=2))
    _, *rows, _, left, total = capsys.readouterr().out.splitlines()
    # What is left of two runs that are set up together: 2 and 1.4 s; of a finished one nothing.
    assert left.startswith("left: 1,220 parameters, 0 training FLOPs; about 5 s on a CPU core, ")
    states = [["train", "to be continued"], ["train,measure,report", "finished"], ["-", "new"]]
    assert [row.split(maxsplit=4)[3:] for row in rows] == states
    assert total == f"3 runs in {tmp_path}, 1 finished; nothing was run"
    assert snapshot(tmp_path) == before
    plan(tmp_path, whole)
    assert capsys.readouterr().out.splitlines()[-2] == "left: nothing"


def test_a_plan_of_a_users_network_counts_nothing(tmp_path, capsys):
    config = make_config(model=save_network(tmp_path / "own.keras", (64,)), preprocessing="vector64")
    plan(tmp_path / "runs", config)
    assert capsys.readouterr().out.splitlines()[1].split()[1:] == ["-", "-", "-", "new"]


def test_a_plan_counts_the_steps_of_its_devices(tmp_path, capsys):
    """Batch normalisation on several devices leaves the uneven last batch of 22 out."""
    config = make_config(model="resnet18", epochs=3)
    for num_devices, steps in ((1, 3 * 34), (2, 3 * 33)):
        plan(tmp_path, config, num_devices=num_devices)
        assert capsys.readouterr().out.splitlines()[1].split()[2] == str(steps)


def test_a_plan_of_many_runs_shows_the_first_and_says_how_many_more(tmp_path, capsys):
    plan(tmp_path / "runs", *[make_config(seed=seed) for seed in range(45)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 40 + 3
    assert lines[-3] == "... and 5 more"


def test_a_plan_of_a_shard_is_of_its_runs(tmp_path, capsys):
    plan(tmp_path / "runs", *[make_config(seed=seed) for seed in range(9)], shard="2/4")
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"2 runs in {tmp_path / 'runs'}, 0 finished, shard 2/4")


def test_plans_together_count_a_run_once_where_most_of_it_is_left(tmp_path):
    first, shared, last, finished = (make_config(seed=seed, epochs=3 * (seed < 3)) for seed in range(4))
    assert carry_out(tmp_path, finished) == 0
    plans = [plan(tmp_path, first, shared, finished, steps=("train",)), plan(tmp_path, last, shared)]
    (together,) = {describe_together(each) for each in (plans, plans[::-1])}
    # As the plan of all: the first only trained, the others measured too.
    left = sum_costs([[plans[0][0].cost, plans[1][1].cost, plans[1][0].cost]])
    assert left.num_runs == 3
    assert plans[1][1].cost.measuring_flops > plans[0][1].cost.measuring_flops == 0
    assert together == f"2 figures together: 4 runs, each counted once; left of 3: {describe_cost(left)}"
    ended = plan(tmp_path, finished)
    assert describe_together([ended] * 3) == "3 figures together: 1 runs, each counted once; left of 0: nothing"
