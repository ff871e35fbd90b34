"""The run's handle on the learner, by a real mailbox. Threads of the test take the place of Ray Train's ranks."""

import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest
import ray

from actors.learner.config import LearnerConfig
from actors.learner.handle import Learner, LearnerRestarted, collective_limit
from actors.learner.mailbox import Answer
from actors.learner.orders import Order, Stop, UpdateOrder, UpdateResult
from actors.learner.setup import LearnerSetup, RankSetup
from actors.model.encode import PromptConfig
from actors.runtime.remote import RemoteFailure
from actors.runtime.storage import Storage

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the mailbox has no folder of tests


@dataclass(frozen=True)
class Ask(Order[int]):
    """A rank answers with its number. Of rank 1, `fault` raises an error and `hang` gets no answer; `die` ends all
    ranks.
    """

    fate: str = ""
    name: ClassVar[str] = "ask"

    def run(self, rank):
        if self.fate == "fault" and rank == 1:
            raise ValueError("no such thing")
        return rank


@dataclass(frozen=True)
class Learn(UpdateOrder):
    name: ClassVar[str] = "learn"

    def run(self, rank):
        return UpdateResult({"loss": 0.5}, [{"rank": rank}] * rank)


class Ranks:
    """What `TorchTrainer` is to the handle: `fit` lasts as long as the ranks."""

    def __init__(self, mailbox, count):
        self.mailbox, self.count = mailbox, count

    def fit(self):
        group = 1
        while self.live(f"group {group}") == "died":
            group += 1

    def live(self, group):
        """One group of ranks, one thread each."""
        ends, over = [], threading.Event()
        threads = [threading.Thread(target=self.rank, args=(rank, group, ends, over)) for rank in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if "died" in ends:
            ray.get(self.mailbox.report_dead.remote({1: "its process is gone"}), timeout=30)
        return "died" if "died" in ends else "stopped"

    def rank(self, rank, group, ends, over):
        done = ray.get(self.mailbox.join.remote(rank, self.count, group, "here"), timeout=30)
        while not over.is_set():
            posted = ray.get(self.mailbox.take.remote(done), timeout=30)
            if posted is None:
                continue
            done = posted.number
            order = ray.get(posted.order, timeout=30)
            if getattr(order, "fate", "") == "hang" and rank == 1:
                continue
            if getattr(order, "fate", "") == "die":
                over.set()
                ends.append("died")
                return
            try:
                answer = Answer(None if isinstance(order, Stop) else order.run(rank))
            except ValueError as error:
                answer = Answer(error=f"{type(error).__name__}: {error}", trace="the trace")
            ray.get(self.mailbox.answer.remote(rank, done, group, answer), timeout=30)
            if isinstance(order, Stop):
                return


class LearnerOfThreads(Learner):
    def _trainer(self, setup):
        return Ranks(self.mailbox, setup.ranks.config.workers)


@pytest.fixture
def learner(ray_session, tmp_path):
    ranks = RankSetup(LearnerConfig(workers=3, timeout_s=100), PromptConfig(), "", None, 0)
    calls = []
    made = LearnerOfThreads(
        LearnerSetup(f"test-{os.urandom(4).hex()}", ranks, Storage(str(tmp_path)), False, "DEFAULT"),
        lambda: calls.append(time.monotonic()),
    )
    made.calls = calls
    yield made
    made.stop()
    assert not made.thread.is_alive()


def test_orders_go_to_all_ranks_and_one_that_was_begun_is_waited_for_by_the_next(learner):
    assert learner.call_all(Ask()) == [0, 1, 2] and learner.call(Ask()) == 0
    learner.begin(Ask())
    learner.finish(wait=False)  # it may or may not have ended
    assert learner.call_all(Ask()) == [0, 1, 2] and learner.begun is None
    learner.finish()  # there is nothing to wait for


def test_who_shares_gpus_with_ranks_can_wait_until_they_have_their_places(learner):
    learner.wait_until_placed()
    state = ray.get(learner.mailbox.state.remote(), timeout=30)
    assert state.groups == 1 and len(state.missing) == state.ranks == 3  # all are there, and were asked for nothing


def test_an_update_has_the_numbers_of_rank_0_and_the_samples_of_all(learner):
    result = learner.update(Learn())
    assert result.numbers == {"loss": 0.5} and [row["rank"] for row in result.non_finite_samples] == [1, 2, 2]


def test_a_rank_that_fails_is_named_with_the_order(learner):
    with pytest.raises(RemoteFailure, match="^learner rank 1 failed at ask: ValueError: no such thing\nthe trace"):
        learner.call(Ask("fault"))
    learner.begin(Ask("fault"))
    with pytest.raises(RemoteFailure, match="rank 1 failed at ask"):
        learner.call(Learn())
    assert learner.call(Ask()) == 0


def test_a_rank_that_does_not_answer_in_time_is_named_and_the_run_works_meanwhile(learner):
    learner.call(Ask())  # its processes have started
    learner.config = learner.config.model_copy(update={"timeout_s": 2})
    with pytest.raises(RemoteFailure, match="^learner rank 1 on here did not answer ask within 2 s$"):
        learner.call(Ask("hang"))
    assert len(learner.calls) > 5


def test_ranks_that_died_are_restarted_and_the_order_is_not_repeated(learner):
    learner.call(Ask())
    with pytest.raises(
        LearnerRestarted, match=r"died during ask \(learner rank 1 on here: its process is gone\); all 3"
    ):
        learner.call(Ask("die"))
    assert learner.call_all(Ask()) == [0, 1, 2] and learner.groups == 2


def test_no_rank_gives_up_on_the_others_before_the_run_does():
    assert collective_limit(LearnerConfig(timeout_s=3600)) == 3600
    assert collective_limit(LearnerConfig(timeout_s=60)) == 1800
