"""The books of a run under random events."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.trajectory import Request, sampling_seed
from cluster.record.ledger import Ledger, LedgerError, committed_events
from curriculum.task import Task

TASK = Task(id="t", domain="open", family="diagnosis", question="Which?", gold=(), images=("x.png",))


def request(group):
    return Request(group, TASK, 4, 1)


@given(st.lists(st.tuples(st.sampled_from(["issue", "train", "drop"]), st.integers(0, 9)), max_size=60))
def test_the_books_always_balance_and_nothing_is_booked_twice(tmp_path_factory, events):
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.jsonl")
    state = {}
    for kind, number in events:
        group = f"g{number}"
        if kind == "issue" and state.get(group) in ("train", "drop"):
            continue  # the run never uses a group's name again
        wanted = {
            "issue": state.get(group) is None,
            "train": state.get(group) == "issue",
            "drop": state.get(group) == "issue",
        }[kind]
        call = {
            "issue": partial(ledger.issue, request(group), "s", 0, 0),
            "train": partial(ledger.train, group, 1),
            "drop": partial(ledger.drop, group, "why"),
        }[kind]
        if wanted:
            call()
            state[group] = kind
        else:
            with pytest.raises(LedgerError):
                call()
        ledger.check()
    totals = ledger.totals()
    kinds = list(state.values())
    assert totals == {
        "issued": len(kinds),
        "trained": kinds.count("train"),
        "dropped": kinds.count("drop"),
        "in_flight": kinds.count("issue"),
    }
    ledger.close()
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert len(lines) == totals["issued"] + totals["trained"] + totals["dropped"]


def test_a_restored_ledger_forgets_what_was_lost(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.issue(request("a"), "s", 0, 0)
    ledger.train("a", 1)
    state = json.loads(json.dumps(ledger.state_dict()))
    ledger.issue(request("b"), "s", 1, 0)
    ledger.close()
    again = Ledger(tmp_path / "ledger.jsonl")
    again.load_state_dict(state)
    again.issue(request("b"), "s", 1, 0)
    again.check()
    again.close()
    assert [(e["event"], e["group"]) for e in committed_events(again.path)] == [
        ("issued", "a"),
        ("trained", "a"),
        ("issued", "b"),
    ]


def test_what_counts_is_told_from_what_was_lost(tmp_path):
    """Twice back to the same state, once after a line that was cut off by a crash."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.issue(request("a"), "s", 0, 0)
    state = json.loads(json.dumps(ledger.state_dict()))
    for number in range(2):
        ledger.issue(request(f"lost{number}"), "s", 1, 0)
        ledger.close()
        with open(ledger.path, "a") as file:
            file.write('{"event": "tra' if number else "")
        ledger = Ledger(tmp_path / "ledger.jsonl")
        ledger.load_state_dict(state)
        assert ledger.totals() == {"issued": 1, "trained": 0, "dropped": 0, "in_flight": 1}
    ledger.train("a", 3)
    ledger.check()
    ledger.close()
    assert [(e["event"], e["group"]) for e in committed_events(ledger.path)] == [("issued", "a"), ("trained", "a")]
    assert ledger.path.read_text().count("lost") == 2  # nothing is erased


def test_a_seed_depends_on_run_task_and_pass_alone():
    seeds = {sampling_seed(run, task, turn) for run in (0, 1) for task in ("a", "b") for turn in (0, 1)}
    assert len(seeds) == 8 and sampling_seed(0, "a", 0) == sampling_seed(0, "a", 0)


def test_what_was_not_written_yet_can_be_dropped(tmp_path):
    """The run is another process's by now."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.issue(request("a"), "closed", 0, 0)
    ledger.check()
    ledger.drop("a", "written too late")
    ledger.abandon()
    assert [event["event"] for event in committed_events(tmp_path / "ledger.jsonl")] == ["issued"]
