"""What becomes of a task."""

from random import Random

from cluster.standalone.traces.outcomes import Outcome, check
from rewards.traces.report_writer import trace_of
from rewards.traces.verifier import VerifierConfig
from rewards.traces.writer import Draft
from tests.support.rewards.reported import CHOICE

GOOD = [trace_of(CHOICE, Random(seed)) for seed in range(3)]


def add(outcome, draft):
    outcome.add(draft, check(outcome.task, draft, VerifierConfig()))


def test_accepted_and_rejected_texts_are_told_apart():
    outcome = Outcome(CHOICE)
    add(outcome, Draft("choice", 0, ("It is B.", GOOD[0], GOOD[0])))
    assert list(outcome.accepted) == [GOOD[0]] and [entry.reason for entry in outcome.rejected] == ["format"]


def test_it_is_asked_for_until_it_has_enough():
    outcome = Outcome(CHOICE)
    assert outcome.wants_more(2, 1)
    add(outcome, Draft("choice", 0, (), "its answer holds no trace"))
    assert outcome.wants_more(2, 1) and not outcome.wants_more(1, 1)
    add(outcome, Draft("choice", 1, (GOOD[0],)))
    assert not outcome.wants_more(3, 1) and outcome.wants_more(3, 2)
    add(outcome, Draft("choice", 2, (), "never", is_final=True))
    assert not outcome.wants_more(9, 9)


def test_an_ask_that_nobody_answered_is_asked_again():
    outcome = Outcome(CHOICE)
    add(outcome, Draft("choice", 0, (), "no answer in 5 s", is_answered=False))
    assert outcome.attempts == 0 and outcome.rejected[0].reason == "no answer"


def test_several_traces_become_several_tasks():
    outcome = Outcome(CHOICE)
    add(outcome, Draft("choice", 0, tuple(GOOD)))
    tasks = list(outcome.tasks(2))
    assert [task.id for task in tasks] == ["choice", "choice-trace2"]
    assert {task.reference for task in tasks} < set(GOOD) and tasks[0].question == CHOICE.question
    assert list(Outcome(CHOICE).tasks(2)) == []
