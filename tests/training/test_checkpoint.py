"""Checkpoint files: whole ones come back exactly, damaged ones are passed over."""

import numpy as np
import pytest

from tfunits.training.checkpoint import Checkpoints, State, assign_variables, read_variables


def make_state(epoch: int) -> State:
    rng = np.random.default_rng(epoch)
    return State(
        epoch=epoch,
        variables=[rng.normal(size=(3, 2)).astype("float32"), np.array(epoch), rng.integers(9, size=2, dtype="uint32")],
        best_weights=[rng.normal(size=3).astype("float32")],
        history=[{"epoch": i, "loss": 1 / (i + 2)} for i in range(1, epoch + 1)],
        origin={"settings": "ab", "network": "cd", "num_devices": 2},
    )


def is_equal(state: State | None, expected: State) -> bool:
    """Whether two states agree in everything, bit by bit; the best weights are not compared."""
    return (
        state is not None
        and (state.epoch, state.history, state.origin) == (expected.epoch, expected.history, expected.origin)
        and len(state.variables) == len(expected.variables)
        and all(a.tobytes() == b.tobytes() for a, b in zip(state.variables, expected.variables, strict=True))
    )


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
