"""The machines of one training, from the text that TensorFlow documents."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfunits.configs import Cluster, UserError, parse_cluster

EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
SEARCH = settings(deadline=None, derandomize=True, max_examples=50)


def spell(cluster: object, kind: object = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", spell({"worker": ["a:1"]}), spell({"chief": ["a:1"]}, "chief"), spell({"worker": ["[::1]:1"]})],
)
def test_one_machine_is_no_cluster(text: str | None) -> None:
    assert parse_cluster(text) is None


@SEARCH
@given(has_chief=st.booleans(), num_workers=st.integers(2, 9))
def test_every_task_has_a_place_of_its_own_and_the_first_writes(has_chief: bool, num_workers: int) -> None:
    workers = [f"host{number}:{2000 + number}" for number in range(num_workers)]
    cluster = {"worker": workers, **({"chief": ["first:1"]} if has_chief else {})}
    tasks = [("chief", 0)] * has_chief + [("worker", index) for index in range(num_workers)]
    found = [parse_cluster(spell(cluster, *task)) for task in tasks]
    addresses = ("first:1",) * has_chief + tuple(workers)
    assert found == [Cluster(workers=addresses, index=index) for index in range(len(tasks))]
    assert [place.is_chief for place in found] == [True] + [False] * (len(tasks) - 1)


PAIR = ["a:1", "b:1"]
BAD = [
    ("{", "it cannot be read"),
    ("3", "it cannot be read"),
    ('["a:1"]', "it cannot be read"),
    ('{"task": {"type": "worker", "index": 0}}', "it cannot be read"),
    (json.dumps({"cluster": {"worker": PAIR}}), "it cannot be read"),
    (json.dumps({"cluster": {"worker": PAIR}, "task": 0}), "it cannot be read"),
    (spell(PAIR), "it cannot be read"),
    (spell({"worker": "a:1"}), "it cannot be read"),
    (spell({"worker": 2}), "it cannot be read"),
    (spell({"worker": {"a:1": "b:1"}}), "it cannot be read"),
    (spell({"worker": ["a:1", 2]}), "2 is no host:port"),
    (spell({"worker": ["a:1", "b"]}), "'b' is no host:port"),
    (spell({"worker": ["a:1", "b:x"]}), "'b:x' is no host:port"),
    (spell({"worker": PAIR, "ps": ["c:1"]}), "tasks of kind ps do not train here"),
    (spell({"worker": PAIR, "evaluator": ["c:1"]}, "evaluator"), "tasks of kind evaluator do not train here"),
    (spell({"worker": PAIR}, index=2), "the task is none of the cluster's"),
    (spell({"worker": PAIR}, "chief"), "the task is none of the cluster's"),
    (spell({}), "the task is none of the cluster's"),
    (json.dumps({"cluster": {"worker": PAIR}, "task": {}}), "the task is none of the cluster's"),
]


@pytest.mark.parametrize(("text", "reason"), BAD, ids=[text for text, _ in BAD])
def test_what_names_no_cluster_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_cluster(text)
    assert str(caught.value) == f"TF_CONFIG={text}: expected workers and a task, {reason}; e.g. {EXAMPLE}"


def test_the_example_of_a_refusal_is_a_cluster() -> None:
    assert parse_cluster(EXAMPLE) == Cluster(workers=("host1:12345", "host2:12345"), index=0)


def test_a_long_text_of_many_lines_is_one_short_line() -> None:
    with pytest.raises(UserError) as caught:
        parse_cluster("{\n" + "x" * 1000)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
