"""Checkpoint files: whole ones come back exactly, damaged ones are passed over."""

import dataclasses
import errno
import pathlib
import resource

import numpy as np
import pytest

from tfunits.configs import KeepRule, UserError, parse_keep_rule
from tfunits.training.checkpoint import Checkpoints, State, assign_variables, pack, read_variables, unpack


def make_state(epoch: int) -> State:
    rng = np.random.default_rng(epoch)
    return State(
        epoch=epoch,
        variables=[rng.normal(size=(3, 2)).astype("float32"), np.array(epoch), rng.integers(9, size=2, dtype="uint32")],
        best_weights=[rng.normal(size=3).astype("float32")],
        history=[{"epoch": i, "loss": 1 / (i + 2)} for i in range(1, epoch + 1)],
        origin={"settings": "ab", "network": "cd", "num_devices": 2},
    )


def is_equal(state: State | None, expected: State, *, best: bool = False) -> bool:
    """Whether two states agree in everything, bit by bit, the best weights where asked for."""
    parts = [(state.variables, expected.variables)] if state is not None else []
    if best and parts:
        parts.append((state.best_weights, expected.best_weights))
    return (
        state is not None
        and (state.epoch, state.history, state.origin) == (expected.epoch, expected.history, expected.origin)
        and all(len(ours) == len(theirs) for ours, theirs in parts)
        and all(a.tobytes() == b.tobytes() for ours, theirs in parts for a, b in zip(ours, theirs, strict=True))
    )


def names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.glob("*.npz")}


@pytest.fixture
def two_states(tmp_path) -> Checkpoints:
    """Checkpoints of epochs 1 and 2, whose best epoch is 1."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make_state(1), best_epoch=1)
    checkpoints.save(make_state(2), best_epoch=1)
    return checkpoints


def test_the_newest_state_comes_back_exactly(two_states):
    state = Checkpoints(two_states.folder).latest()
    assert is_equal(state, make_state(2))
    # Written at epoch 1, and not again while it is the best.
    np.testing.assert_array_equal(state.best_weights[0], make_state(1).best_weights[0])
    assert [value.dtype for value in state.variables] == [value.dtype for value in make_state(2).variables]


def test_no_file_is_no_state(tmp_path):
    assert Checkpoints(tmp_path / "absent").latest() is None


def test_two_states_and_their_best_weights_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    best_epochs = {1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4}
    for epoch, best in best_epochs.items():
        checkpoints.save(make_state(epoch), best_epoch=best)
        kept = [number for number in (epoch - 1, epoch) if number]
        states = {f"epoch-{number:05d}.npz" for number in kept}
        assert {path.name for path in tmp_path.iterdir()} == states | {f"best-{best_epochs[n]:05d}.npz" for n in kept}


def test_a_best_epoch_is_written_again_after_a_return(two_states):
    """The file of an epoch that was best, and whose checkpoint got lost, is not taken for that of the repeated one."""
    returned = Checkpoints(two_states.folder)
    returned.latest()
    (two_states.folder / "best-00003.npz").write_bytes(b"of a killed process")
    returned.save(make_state(3), best_epoch=3)
    np.testing.assert_array_equal(returned.latest().best_weights[0], make_state(3).best_weights[0])


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_state_is_passed_over(two_states, share, capsys):
    newest = two_states.folder / "epoch-00002.npz"
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    assert is_equal(two_states.latest(), make_state(1))
    error = capsys.readouterr().err
    assert f"{newest}: expected whole arrays, received a damaged file" in error
    assert error.endswith("; going back to the checkpoint before it\n")


def test_no_flipped_bit_of_best_weights_goes_unseen(tmp_path, capsys):
    """At 400 seeded places: the state is untouched, or the one before it with its own best weights is taken."""
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(make_state(epoch), best_epoch=epoch)
    newest = tmp_path / "best-00002.npz"
    whole, rng = newest.read_bytes(), np.random.default_rng(7)
    outcomes = []
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        newest.write_bytes(damaged)
        state, error = checkpoints.latest(), capsys.readouterr().err
        if is_equal(state, make_state(2), best=True):
            outcomes.append("untouched")
            assert error == ""
        else:
            outcomes.append("passed over")
            assert is_equal(state, make_state(1), best=True)
            assert error.startswith(f"{newest}: expected whole arrays, received a damaged file (")
            assert error.endswith("; going back to the checkpoint before it\n")
            assert error.count("\n") == 1
    # Most of a file is data, whose checksum fails.
    assert outcomes.count("passed over") > 200


def test_every_damaged_file_is_named_and_a_new_start_announced(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(make_state(epoch), best_epoch=epoch)
    for path in tmp_path.glob("epoch-*.npz"):
        path.write_bytes(b"nothing")
    assert checkpoints.latest() is None
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{tmp_path / 'epoch-00002.npz'}: expected whole arrays, received a damaged file (")
    assert first.endswith("); going back to the checkpoint before it")
    assert second.startswith(f"{tmp_path / 'epoch-00001.npz'}: expected whole arrays, received a damaged file (")
    assert second.endswith("); no checkpoint before it is there; starting again from the first epoch")


def test_an_empty_folder_says_nothing(tmp_path, capsys):
    assert Checkpoints(tmp_path).latest() is None
    assert capsys.readouterr().err == ""


def test_a_missing_or_damaged_best_file_damages_its_states(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make_state(1), best_epoch=1)
    checkpoints.save(make_state(2), best_epoch=2)
    (tmp_path / "best-00002.npz").unlink()
    assert is_equal(checkpoints.latest(), make_state(1))
    assert "best-00002.npz" in capsys.readouterr().err


def test_no_flipped_bit_goes_unseen(two_states, capsys):
    """Whichever bit of the newest file is flipped: the state is untouched, or the one before it is taken."""
    newest = two_states.folder / "epoch-00002.npz"
    whole = newest.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    places = [(place, place % 8) for place in range(0, directory, 4)]
    places += [(place, bit) for place in range(directory, len(whole)) for bit in (0, place % 7 + 1)]
    outcomes = {}
    for place, bit in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        newest.write_bytes(damaged)
        try:
            state = two_states.latest()
        except Exception as error:
            outcomes[place, bit] = repr(error)
        else:
            fits = [is_equal(state, make_state(2)), is_equal(state, make_state(1)), True]
            outcomes[place, bit] = ("untouched", "passed over", "another state")[fits.index(True)]
    capsys.readouterr()
    assert set(outcomes.values()) == {"untouched", "passed over"}


@pytest.mark.parametrize("damaged", ["epoch-*.npz", "best-*.npz"])
def test_a_start_from_nothing_keeps_its_own_states_beside_damaged_later_ones(tmp_path, damaged, capsys):
    for epoch in (5, 6):
        Checkpoints(tmp_path).save(make_state(epoch), best_epoch=5)
    for path in tmp_path.glob(damaged):
        path.write_bytes(path.read_bytes()[:100])
    restarted = Checkpoints(tmp_path)
    assert restarted.latest() is None
    restarted.save(make_state(1), best_epoch=1)
    assert is_equal(Checkpoints(tmp_path).latest(), make_state(1))


RULES = {
    "none": (KeepRule(), 23),
    "last 8 and every 10th": (parse_keep_rule(["last8", "every10"]), 23),
    "listed": (parse_keep_rule(["1", "5", "7"]), 9),
    "last 1": (parse_keep_rule(["last1"]), 5),
}


@pytest.mark.parametrize("name", RULES)
def test_after_every_epoch_the_kept_ones_and_two_to_continue_from_are_there(tmp_path, name):
    rule, epochs = RULES[name]
    checkpoints = Checkpoints(tmp_path, rule)
    # Every third epoch is a new best.
    best = {epoch: epoch - (epoch - 1) % 3 for epoch in range(1, epochs + 1)}
    seen = set()
    for epoch in range(1, epochs + 1):
        checkpoints.save(make_state(epoch), best_epoch=best[epoch])
        seen.add(epoch)
        newest = {number for number in (epoch - 1, epoch) if number}
        # What the rule lets go once does not come back.
        seen = newest | rule.select(seen)
        assert names(tmp_path) == {f"epoch-{number:05d}.npz" for number in seen} | {
            f"best-{best[number]:05d}.npz" for number in newest
        }
        assert checkpoints.epochs() == sorted(seen)
        assert checkpoints.kept() == {tmp_path / f"epoch-{number:05d}.npz" for number in rule.select(seen)}
    if name == "last 8 and every 10th":
        assert checkpoints.epochs() == [10, *range(16, 24)]


def test_kept_epochs_hold_what_they_held(tmp_path):
    checkpoints = Checkpoints(tmp_path, KeepRule(every=(2,)))
    for epoch in range(1, 8):
        checkpoints.save(make_state(epoch), best_epoch=1)
    for epoch in (2, 4, 6, 7):
        found = Checkpoints(tmp_path).variables_at(epoch)
        for value, expected in zip(found, make_state(epoch).variables, strict=True):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(("epoch", "there"), [(3, "2, 4, 5"), (6, "2, 4, 5")])
def test_an_epoch_that_was_not_kept_is_named_with_those_that_are(tmp_path, epoch, there):
    checkpoints = Checkpoints(tmp_path, KeepRule(every=(2,)))
    for number in range(1, 6):
        checkpoints.save(make_state(number), best_epoch=1)
    with pytest.raises(UserError) as error:
        checkpoints.variables_at(epoch)
    expected = f"epoch: expected one that was kept (--keep_epochs) in {tmp_path}: {there}; got {epoch}"
    assert str(error.value) == expected


def test_no_epoch_at_all_is_none(tmp_path):
    with pytest.raises(UserError, match=r": none; got 1$"):
        Checkpoints(tmp_path / "absent").variables_at(1)


def fill_the_disk(monkeypatch, nth: int) -> None:
    """From the n-th file on, the writer stops half-way for want of space."""
    write, count = np.savez, [0]

    def write_half(path, **arrays) -> None:
        count[0] += 1
        write(path, **arrays)
        if count[0] >= nth:
            pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(np, "savez", write_half)


# The best weights are written first, then the state.
@pytest.mark.parametrize(("best_epoch", "nth", "new"), [(3, 1, set()), (3, 2, {"best-00003.npz"}), (1, 1, set())])
def test_a_full_disk_leaves_what_was_there_and_no_half_file(tmp_path, monkeypatch, best_epoch, nth, new):
    checkpoints = Checkpoints(tmp_path, KeepRule(last=1))
    for epoch in (1, 2):
        checkpoints.save(make_state(epoch), best_epoch=1)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.npz")}
    with monkeypatch.context() as patch:
        fill_the_disk(patch, nth)
        with pytest.raises(OSError, match="No space left on device"):
            checkpoints.save(make_state(3), best_epoch=best_epoch)
    assert names(tmp_path) == set(before) | new
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
    again = Checkpoints(tmp_path, KeepRule(last=1))
    assert is_equal(again.latest(), make_state(2))
    # Once there is space, the same epoch is saved, its best weights anew.
    again.save(make_state(3), best_epoch=best_epoch)
    state = Checkpoints(tmp_path).latest()
    assert is_equal(state, make_state(3))
    np.testing.assert_array_equal(state.best_weights[0], make_state(best_epoch).best_weights[0])
    assert names(tmp_path) == {"epoch-00002.npz", "epoch-00003.npz", "best-00001.npz", f"best-{best_epoch:05d}.npz"}


def test_a_write_that_the_system_cuts_off_leaves_what_was_there(tmp_path):
    """A real error from the kernel in the middle of a file: a limit on the size of files."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(make_state(1), best_epoch=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    large = dataclasses.replace(make_state(2), variables=[np.ones(100_000, "float32")])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoints.save(large, best_epoch=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert is_equal(checkpoints.latest(), make_state(1))


def test_a_state_travels_as_bytes():
    state = make_state(3)
    again = unpack(pack(state))
    assert is_equal(again, state, best=True)
    assert [value.dtype for value in again.variables] == [value.dtype for value in state.variables]
    many = dataclasses.replace(state, variables=[np.full(2, number) for number in range(120)])
    assert [value[0] for value in unpack(pack(many)).variables] == list(range(120))
    untrained = dataclasses.replace(state, best_weights=None)
    assert unpack(pack(untrained)).best_weights is None


def test_no_state_travels_as_nothing():
    assert pack(None) == b""
    assert unpack(b"") is None


def test_values_of_another_network_are_refused(branched_model):
    values = read_variables(branched_model.variables)
    reshaped = [*values[:2], values[2][..., :1], *values[3:]]
    message = "values: expected those of this network, received others .first difference at 2."
    with pytest.raises(ValueError, match=message):
        assign_variables(branched_model.variables, reshaped)
    with pytest.raises(ValueError, match="first difference at their number"):
        assign_variables(branched_model.variables, values[:-1])
    for variable, value in zip(branched_model.variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_folder_remembers_what_it_was_to_keep(tmp_path):
    """The same command without its rule, or with another, takes nothing away."""
    first = Checkpoints(tmp_path, KeepRule(listed=(1,)))
    for epoch in (1, 2, 3):
        first.save(make_state(epoch), best_epoch=1)
    second = Checkpoints(tmp_path, KeepRule(listed=(2,)))
    for epoch in (4, 5):
        second.save(make_state(epoch), best_epoch=1)
    assert Checkpoints(tmp_path).epochs() == [1, 2, 4, 5]
    assert {path.name for path in Checkpoints(tmp_path).kept()} == {"epoch-00001.npz", "epoch-00002.npz"}
