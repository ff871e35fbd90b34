import json

from cluster.reporting.unread import unread_answers
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score

TASK = Task(
    id="t",
    domain="closed",
    family="single_choice",
    question="Which?",
    images=("x.png",),
    options={"A": "Mass", "B": "Edema"},
    gold=("B",),
)


def row(answer):
    response = f"<think>So.</think><answer>{answer}</answer>"
    return {"response": response, "verdict": score(TASK, response, RewardConfig()).to_dict()}


def test_reasons_are_counted_with_their_newest_example(tmp_path):
    rows = [row("B"), row("A or B"), row("either\nof them"), row("x" * 2000), {**row("B"), "verdict": {}}]
    lines = [json.dumps(each) + "\n" for each in rows]
    (tmp_path / "trajectories.jsonl").write_text("".join(lines) + '{"response": "cut')
    hedges, long = unread_answers(tmp_path)
    assert (hedges.reason, hedges.count, hedges.share, hedges.example) == ("hedges", 2, 0.4, "either of them")
    assert (long.reason, long.count) == ("too long", 1) and len(long.example) < 200


def test_a_run_without_samples_has_none(tmp_path):
    assert unread_answers(tmp_path) == []
