"""What runs in each of Ray Train's workers: takes orders from the mailbox and carries them out, until it is stopped."""

from __future__ import annotations

import traceback
import uuid
from typing import Any

import ray

from actors.learner.mailbox import Answer, PostedOrder
from actors.learner.orders import Order, Resize, Stop
from actors.runtime.files import NoSpaceError
from actors.runtime.remote import wait_for


class MoreRanks(Exception):
    """Ends a rank that nothing is wrong with, so that Ray Train starts more of them."""


def learner_rank(loop_config: dict[str, Any]) -> None:
    """One rank, inside Ray Train.

    Args:
        loop_config: `setup`, a `RankSetup`, and `mailbox`, the actor.
    """
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    rank, ranks = get_context().get_world_rank(), get_context().get_world_size()
    setup, mailbox = loop_config["setup"], loop_config["mailbox"]
    worker, who = None, f"learner rank {rank}'s desk"
    group = broadcast_from_rank_zero(uuid.uuid4().hex)
    done = wait_for(mailbox.join.remote(rank, ranks, group, ray.util.get_node_ip_address()), 60, who)
    while True:
        posted: PostedOrder | None = wait_for(mailbox.take.remote(done), 60, who)
        if posted is None:
            continue
        done = posted.number
        order: Order[Any] | None = None
        try:
            order = wait_for(posted.order, 60, "the run")
            if worker is None:
                from actors.learner.rank import DeepSpeedRank

                worker = DeepSpeedRank(setup, rank, ranks)
            answer = Answer(worker.carry_out(order))
        except NoSpaceError as error:
            answer = Answer(error=str(error), no_space=True)
        except Exception as error:  # noqa: BLE001 - goes to the run, which names the rank
            answer = Answer(error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        wait_for(mailbox.answer.remote(rank, done, group, answer), 60, who)
        if isinstance(order, Stop):
            return
        if isinstance(order, Resize):
            raise MoreRanks("there is room for more ranks")  # Ray Train starts as many as it can after a failure
