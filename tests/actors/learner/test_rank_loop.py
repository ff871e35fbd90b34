"""A rank's loop with a real mailbox: it answers every order, also with what went wrong, until it is ended."""

import threading

import pytest
import ray

from actors.learner.config import LearnerConfig
from actors.learner.mailbox import Mailbox
from actors.learner.orders import Hello, Resize, Stop
from actors.learner.rank import DeepSpeedRank
from actors.learner.rank_loop import MoreRanks, learner_rank
from actors.learner.setup import RankSetup
from actors.learner.work import WorkCount
from actors.model.encode import PromptConfig


class Context:
    """What Ray Train tells its worker."""

    def get_world_rank(self):
        return 0

    def get_world_size(self):
        return 1


@pytest.fixture
def mailbox(ray_session, monkeypatch):
    monkeypatch.setattr("ray.train.get_context", Context)
    monkeypatch.setattr("ray.train.collective.broadcast_from_rank_zero", lambda value: value)
    mailbox = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=100).remote(1)
    yield mailbox
    ray.kill(mailbox)


def send(mailbox, order):
    return ray.get(mailbox.dispatch.remote(order.name, [ray.put(order)], 1), timeout=60)


@pytest.mark.parametrize("last, ends", [(Stop(), None), (Resize(), MoreRanks)], ids=["stop", "resize"])
def test_a_rank_that_cannot_be_built_says_so_at_every_order_and_ends_when_it_is_told_to(mailbox, last, ends):
    raised = []

    def rank():
        try:
            learner_rank({"setup": None, "mailbox": mailbox})  # no rank can be built from this
        except MoreRanks as error:
            raised.append(type(error))

    thread = threading.Thread(target=rank, daemon=True)
    thread.start()
    for order in (Hello(), Hello()):
        (answer,) = send(mailbox, order)
        assert answer.value is None and answer.error.startswith("AttributeError") and "DeepSpeedRank" in answer.trace
    assert thread.is_alive()
    send(mailbox, last)
    thread.join(30)
    assert not thread.is_alive() and raised == ([ends] if ends else [])


def test_a_rank_gives_its_cached_memory_back_before_it_answers(mailbox, monkeypatch):
    """Engines that share its GPU wake after that."""
    setup = RankSetup(LearnerConfig(), PromptConfig(), "no model", None, 0, takes_turns=True)

    def make(rank, setup, *_):
        rank.setup, rank.work = setup, WorkCount(None, None)

    monkeypatch.setattr(DeepSpeedRank, "__init__", make)
    given_back = threading.Event()
    monkeypatch.setattr("torch.cuda.empty_cache", given_back.set)
    thread = threading.Thread(target=learner_rank, args=[{"setup": setup, "mailbox": mailbox}], daemon=True)
    thread.start()
    (answer,) = send(mailbox, Hello())
    assert answer.error is None and given_back.is_set()
    send(mailbox, Stop())
    thread.join(30)
    assert not thread.is_alive()
