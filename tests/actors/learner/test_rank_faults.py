"""What is said of a rank that died."""

import pytest
from ray.exceptions import ActorDiedError

from actors.learner.rank_faults import RankFaults, describe_fault


class WorkerHealthCheckTimeoutError(Exception):
    """Known by its name: Ray Train does not export it."""


class WorkerHealthCheckFailedError(Exception):
    def __init__(self, failure):
        super().__init__("many lines")
        self.health_check_failure = failure


@pytest.mark.parametrize(
    "error, words",
    [
        (WorkerHealthCheckTimeoutError(), "gave no sign of life for longer than learner.silent_s"),
        (ActorDiedError(), "its process is gone"),
        (WorkerHealthCheckFailedError(ActorDiedError()), "its process is gone"),
        (RuntimeError("Traceback\n  File x\ntorch.OutOfMemoryError: out of memory\n(rank 0)"), "out of memory"),
    ],
)
def test_a_fault_is_one_line(error, words):
    described = describe_fault(error)
    assert words in described and "\n" not in described


def test_the_mailbox_hears_of_every_rank(ray_session):
    import ray

    from actors.learner.mailbox import Mailbox

    mailbox = ray.remote(Mailbox).options(num_cpus=0).remote(2)
    ray.get(mailbox.join.remote(0, 2, "first", "10.0.0.7"), timeout=60)
    RankFaults(mailbox).after_exception(None, {0: ActorDiedError(), 1: RuntimeError("no memory")})
    ray.get(mailbox.join.remote(0, 2, "second", "10.0.0.7"), timeout=60)
    assert ray.get(mailbox.state.remote(), timeout=60).lost == [
        "learner rank 0 on 10.0.0.7: its process is gone",
        "learner rank 1 on an unknown node: no memory",
    ]
    ray.kill(mailbox)
