"""Which checkpoints stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.configs import ExecutionConfig, KeepRule, UserError, parse_keep_rule

SEARCH = settings(deadline=None, derandomize=True, max_examples=100)
NUMBERS = st.integers(1, 30)
RULES = st.builds(
    KeepRule, last=st.integers(0, 30), every=st.lists(NUMBERS).map(tuple), listed=st.lists(NUMBERS).map(tuple)
)
EPOCHS = st.lists(st.integers(1, 60))


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ((), KeepRule()),
        (("last8", "every10"), KeepRule(last=8, every=(10,))),
        (("1", "2", "5"), KeepRule(listed=(1, 2, 5))),
        (("last2", "7", "last5", "every3", "every4"), KeepRule(last=5, every=(3, 4), listed=(7,))),
    ],
)
def test_words_make_a_rule(words: tuple, rule: KeepRule) -> None:
    assert parse_keep_rule(words) == rule


@pytest.mark.parametrize(
    "word", ["0", "last0", "every0", "last", "every", "-1", "1.5", "first3", "last 3", "Last3", "", "9" * 5000]
)
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(UserError, match="^--keep_epochs=.*: expected numbers of epochs, lastN or everyN; .* is none$"):
        parse_keep_rule(("last3", word))
    with pytest.raises(UserError, match="^--keep_epochs="):
        ExecutionConfig(keep_epochs=(word,))


def test_the_word_that_is_none_is_named() -> None:
    with pytest.raises(UserError) as caught:
        parse_keep_rule(("last3", "first3"))
    assert str(caught.value) == (
        "--keep_epochs=last3,first3: expected numbers of epochs, lastN or everyN; 'first3' is none"
    )


@SEARCH
@given(rule=RULES, epochs=EPOCHS)
def test_only_what_is_there_stays_and_for_a_reason(rule: KeepRule, epochs: list[int]) -> None:
    kept = rule.select(epochs)
    there = set(epochs)
    assert kept <= there
    for epoch in there:
        newer = sum(other > epoch for other in there)
        is_regular = any(epoch % step == 0 for step in rule.every)
        assert (epoch in kept) == (newer < rule.last or is_regular or epoch in rule.listed)


@SEARCH
@given(rule=RULES, count=st.integers(1, 60))
def test_selecting_after_every_epoch_keeps_what_selecting_at_the_end_keeps(rule: KeepRule, count: int) -> None:
    """A training forgets checkpoints as it goes; none that the rule names at its end is gone by then."""
    present: set[int] = set()
    for epoch in range(1, count + 1):
        present = rule.select(present | {epoch})
    assert present == rule.select(range(1, count + 1))


def test_an_epoch_that_is_named_twice_counts_once() -> None:
    assert KeepRule(last=2).select([5, 4, 5, 3]) == {4, 5}


def test_no_rule_keeps_nothing() -> None:
    assert KeepRule().select([1, 2, 3]) == set()
