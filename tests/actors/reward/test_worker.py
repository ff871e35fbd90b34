"""A reward worker's verdicts, and those of the control experiment."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from rewards.score import score
from tests.support.rewards.choice import TASK
from tests.support.rewards.waiting_rules import worth

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


RULES = "tests.support.rewards.waiting_rules"


def waiting(worker_of, rule, own=None, **settings):
    return worker_of(rules={"own": {"slow": {"rule": f"{RULES}:{rule}", "weight": 0.2} | (own or {})}}, **settings)


def test_several_shares_at_once_keep_their_order(worker_of):
    worker = waiting(worker_of, "asks", {"options": {"seconds": 0.02}})
    shares = [
        [Response(TASK, i, f"<think>{'x' * (10 * s + i + 1)}</think><answer>B</answer>", False) for i in range(6)]
        for s in range(5)
    ]
    with ThreadPoolExecutor(5) as threads:
        found = list(threads.map(lambda share: worker.score(share, False), shares))
    for share, verdicts in zip(shares, found, strict=True):
        assert [dict(v.more)["slow"] for v in verdicts] == [worth(r.text) for r in share]


def test_a_worker_that_waits_shows_that_it_is_alive(worker_of):
    worker = waiting(worker_of, "asks", {"options": {"seconds": 0.5}}, response_timeout_s=0.1)
    with ThreadPoolExecutor(1) as threads:
        share = threads.submit(worker.score, RESPONSES, False)
        time.sleep(0.3)
        worker.ping()  # a rule that waits for long is no reason to give the worker up
        assert not share.done() and len(share.result()) == len(RESPONSES)


def test_a_response_that_hangs_in_a_plain_function_is_noticed(worker_of, tmp_path):
    (tmp_path / "hangs_in_test_worker.py").write_text(
        "import time\ndef hang(task, response, verdict):\n    time.sleep(1)\n    return 0.5\n"
    )
    own = {
        "slow": {"rule": f"{RULES}:asks", "weight": 0.2},
        "hang": {"rule": "hangs_in_test_worker:hang", "weight": 0.2},
    }
    worker = worker_of(rules={"own": own}, response_timeout_s=0.2)
    with ThreadPoolExecutor(1) as threads:
        share = threads.submit(worker.score, RESPONSES[:1], False)
        time.sleep(0.5)
        with pytest.raises(RuntimeError, match=r"a response took longer than 0.2 s to score"):
            worker.ping()
        share.result()
    worker.ping()


def test_what_concerns_a_rule_as_a_whole_is_noted_once(worker_of):
    worker = waiting(worker_of, "asks", {"retries": 0})
    share = [
        Response(TASK, i, f"<think>always fails {i}</think><answer>B</answer>", truncated=False) for i in range(12)
    ]
    verdicts = worker.score(share, False)
    assert all(v.failed == ("slow",) for v in verdicts)
    assert [note.split(",")[0] for note in worker.take_notes()] == ["slow: does not answer"]
    assert worker.take_notes() == [] and worker_of().take_notes() == []
