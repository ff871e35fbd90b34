"""A reward worker's verdicts, and those of the control experiment."""

import pytest

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from curriculum.task import Task
from rewards.score import score

TASK = Task(
    id="t",
    domain="closed",
    family="single_choice",
    question="?",
    images=("x.png",),
    gold=("B",),
    options={"A": "Mass", "B": "Edema"},
)
TEXTS = [f"<think>Look.</think><answer>{answer}</answer>" for answer in ("A", "B", "B", "nothing")]
RESPONSES = [Response(TASK, index, text, truncated=index == 2) for index, text in enumerate(TEXTS)]


@pytest.fixture
def worker_of(tmp_path):
    def make(rank=0, **settings):
        return RewardWorker(rank, RewardWorkersConfig(**settings), str(tmp_path))

    return make


def test_verdicts_are_those_of_the_rules_in_order(worker_of):
    worker = worker_of()
    assert worker.score(RESPONSES, False) == [
        score(r.task, r.text, worker.config.rules, r.truncated) for r in RESPONSES
    ]
    assert repr(worker) == "reward-0"


def test_the_control_experiment_is_random_in_training_and_the_same_on_every_worker(worker_of):
    first, second, honest = worker_of(0, control="random"), worker_of(1, control="random"), worker_of()
    random = first.score(RESPONSES, False)
    assert random == second.score(RESPONSES[::-1], False)[::-1]
    assert len({verdict.total for verdict in random}) == len(RESPONSES)
    for verdict, true in zip(random, honest.score(RESPONSES, False), strict=True):
        assert 0 <= verdict.total < 1 and verdict.base == verdict.total and verdict.why == ("random control",)
        assert verdict.outcome == true.outcome and len(verdict.steps) == len(true.steps)
        assert {step.score for step in verdict.steps} <= {0.0, 1.0}
    assert first.score(RESPONSES, True) == honest.score(RESPONSES, True)


def test_rules_of_the_recipe_are_found_in_the_runs_folder(worker_of, tmp_path):
    (tmp_path / "rules_of_test_reward.py").write_text("def half(task, response, verdict):\n    return 0.5\n")
    worker = worker_of(rules={"own": {"half": {"rule": "rules_of_test_reward:half", "weight": 0.2}}})
    (verdict,) = worker.score(RESPONSES[1:2], False)
    assert dict(verdict.more) == {"half": 0.5}
