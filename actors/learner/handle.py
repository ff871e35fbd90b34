"""The run's handle on the learner: Ray Train workers that run DeepSpeed and carry out orders.

Every rank takes the same orders in the same sequence. A mailbox, which is an actor, hands them out and gathers the
answers, so that the run can wait for each rank by name, with a limit.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ray

from actors.learner.config import LearnerConfig
from actors.learner.mailbox import Answer, Mailbox, MailboxState
from actors.learner.orders import (
    Hello,
    Keep,
    Order,
    Publish,
    Resize,
    Save,
    Stop,
    UpdateAndReadAhead,
    UpdateOrder,
    UpdateResult,
)
from actors.learner.rank_loop import learner_rank
from actors.learner.setup import LearnerSetup
from actors.learner.work import learner_speed
from actors.runtime.remote import RemoteFailure, cause, wait_for
from actors.runtime.restart_policy import Restarts
from actors.runtime.storage import Storage
from actors.weights.transports.base import Sent
from actors.weights.version import Version
from curriculum.task import Task

T = TypeVar("T")
GROW_S = 300.0  # between two attempts to start more ranks
MAILBOX_S = 10.0  # for the mailbox's state
COLLECTIVE_S = 1800  # for an operation of all ranks, at least: Ray Train's own limit


class LearnerRestarted(RemoteFailure):
    """Ranks died, and all were restarted: what they held is lost, and the order was not carried out."""


class DiskFull(RemoteFailure):
    """A rank could not write, because the disk that the message names is full. It goes on."""


class Learner:
    """Sends orders to all ranks, and waits for each order at most `config.timeout_s`.

    Args:
        meanwhile: is called again and again while an order is waited for.

    Attributes:
        ranks: how many there are; of `groups` that have joined, in the last one that the run knows of.
    """

    def __init__(self, setup: LearnerSetup, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.config, self.transport = setup.ranks.config, setup.ranks.transport
        self.meanwhile = meanwhile
        self.groups, self.ranks = 0, self.config.workers
        self.grown_at = -math.inf  # when ranks were last restarted to be more
        self.restarts = Restarts(limit=20, window_s=3600, backoff_s=0)  # Ray Train waits by itself
        self.mailbox = (
            ray.remote(Mailbox)
            .options(
                name=f"{setup.run}/learner-desk",
                num_cpus=0,
                max_concurrency=1000,
                scheduling_strategy=setup.scheduling,
            )
            .remote(self.config.workers)
        )
        self.rank_resources: dict[str, float] = {"CPU": self.config.cpus}
        if self.config.gpus:
            self.rank_resources["GPU"] = self.config.gpus
        if setup.use_learner_resource:
            self.rank_resources["learner"] = 1
        self.failure: BaseException | None = None
        self.begun: tuple[str, Any] | None = None  # name and pending answers of an order that nobody waits for yet
        self.thread = threading.Thread(target=self._fit, args=(self._trainer(setup),), name="learner", daemon=True)
        self.thread.start()

    def _trainer(self, setup: LearnerSetup) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from actors.learner.rank_faults import RankFaults

        config = self.config
        os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(config.silent_s)
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # a process more, whose warning no rank listens to
        return TorchTrainer(
            learner_rank,
            train_loop_config={"setup": setup.ranks, "mailbox": self.mailbox},
            torch_config=TorchConfig(backend="nccl" if config.gpus else "gloo", timeout_s=collective_limit(config)),
            # Ray Train would grow at any time, and cost all steps since the last commit: `grow` chooses the moment.
            scaling_config=ScalingConfig(
                num_workers=(config.fewest, config.workers) if config.min_workers else config.workers,
                elastic_resize_monitor_interval_s=math.inf,
                use_gpu=config.gpus > 0,
                resources_per_worker=self.rank_resources,
                placement_strategy=config.placement.upper(),
            ),
            run_config=RunConfig(
                name="learner",
                storage_path=setup.storage.uri,
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[RankFaults(self.mailbox)],
            ),
        )

    def _fit(self, trainer: Any) -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the run waits
            self.failure = error

    @property
    def _running(self) -> bool:
        return self.failure is None and self.thread.is_alive()

    # -- orders ---------------------------------------------------------------------------------------------------

    def call(self, order: Order[T]) -> T:
        """As `call_all`, for rank 0's answer."""
        return self.call_all(order)[0]

    def call_all(self, order: Order[T], name: str = "") -> list[T]:
        """Sends an order to all ranks.

        Args:
            name: what errors call the order, if not by its own name.

        Returns:
            The answer of each.

        Raises:
            LearnerRestarted: ranks died, and all were restarted, on the model folder's weights.
            RemoteFailure: a rank failed, with its reason, or did not answer in time, with its number.
        """
        self.finish()
        name = name or order.name
        return self._answers(name, self._dispatch(order, name))

    def update(self, order: UpdateOrder, next_films: Sequence[str] = ()) -> UpdateResult:
        """A step of training.

        Args:
            next_films: of the tasks that come next, as far as they are known. They are read meanwhile.

        Returns:
            Rank 0's numbers, what the ranks made of their time, and the non-finite samples of all ranks.

        Raises:
            RemoteFailure: as `call_all`.
        """
        whole = UpdateAndReadAhead(order, next_films) if next_films else order
        results = self.call_all(whole, order.name)
        samples = [sample for result in results for sample in result.non_finite_samples]
        works = [result.work for result in results if result.work is not None]
        numbers = results[0].numbers
        speed = learner_speed(numbers["tokens"], works) if works else {}
        return UpdateResult(numbers | speed, samples)

    def begin(self, order: Order[Any]) -> None:
        """Sends an order to all ranks and does not wait for it: the next order does, or `finish`."""
        self.finish()
        self.begun = (order.name, self._dispatch(order, order.name))

    def finish(self, wait: bool = True) -> None:
        """Waits for the order that was begun, if any; without `wait` only if it has ended or cannot end any more.

        Raises:
            RemoteFailure: as `call_all`.
        """
        if self.begun is None:
            return
        if wait or ray.wait([self.begun[1]], timeout=0)[0] or not self._running:
            begun, self.begun = self.begun, None
            self._answers(*begun)

    def _dispatch(self, order: Order[Any], name: str) -> Any:
        # By reference: the order goes to each rank once, and past the mailbox.
        return self.mailbox.dispatch.remote(name, [ray.put(order)], self.groups)

    def _wait(self, name: str, pending: Any, meanwhile: Callable[[], None]) -> Any:
        deadline = time.monotonic() + self.config.timeout_s
        while not ray.wait([pending], timeout=0.1)[0]:
            if not self._running:
                raise RemoteFailure(f"the learner stopped during {name}: {cause(self.failure)}") from self.failure
            if time.monotonic() > deadline:
                raise self._too_late(name)
            meanwhile()
        return wait_for(pending, 60, "the learner's desk")

    def _answers(self, name: str, pending: Any) -> list[Any]:
        answers: list[Answer] | None = self._wait(name, pending, self.meanwhile)
        state = self._state()
        ranks_before, self.ranks, self.groups = self.ranks, state.ranks, state.groups
        if answers is None:
            raise self._restarted(name, ranks_before, state)
        for rank, answer in enumerate(answers):
            if answer.error is not None:
                fault = f"learner rank {rank} failed at {name}: {answer.error}"
                raise DiskFull(fault) if answer.no_space else RemoteFailure(f"{fault}\n{answer.trace}")
        return [answer.value for answer in answers]

    def _state(self) -> MailboxState:
        state: MailboxState = wait_for(self.mailbox.state.remote(), MAILBOX_S, "the learner's desk")
        return state

    def _too_late(self, name: str) -> RemoteFailure:
        state = self._state()
        failed = [
            f"; rank {rank} failed: {answer.error}"
            for rank, answer in state.answers.items()
            if answer.error is not None
        ]
        return RemoteFailure(
            f"learner rank {', '.join(state.missing)} did not answer {name} "
            f"within {self.config.timeout_s:g} s{''.join(failed)}"
        )

    def _restarted(self, name: str, ranks_before: int, state: MailboxState) -> RemoteFailure:
        self.restarts.died(time.monotonic())
        if self.restarts.wait_s(time.monotonic()) is None:
            return RemoteFailure(
                f"learner ranks died {len(self.restarts.deaths)} times within {self.restarts.window_s:g} s, "
                f"at last during {name}: {'; '.join(state.lost)}"
            )
        if self.ranks == ranks_before:
            restart = f"all {ranks_before} restart"
        else:
            restart = f"{self.ranks} restart instead of {ranks_before}"
        reasons = "; ".join(state.lost) or "nobody says why"
        return LearnerRestarted(f"learner ranks died during {name} ({reasons}); {restart}")

    # -- orders that take more than one call --------------------------------------------------------------------------

    def wait_until_placed(self) -> None:
        """Waits until every rank has its place on a node, without memory of a GPU as yet. Raises RemoteFailure."""
        self._wait("the start", self.mailbox.wait_until_joined.remote(), meanwhile=lambda: None)

    def ready(self) -> None:
        """Waits until every rank has loaded the model. Raises RemoteFailure."""
        while True:
            try:
                return self.call(Hello())
            except LearnerRestarted:  # nothing is lost yet
                pass

    def publish(self, version: Version, probe: Sequence[Task], receivers: Mapping[str, str]) -> Sent:
        """Sends the weights as `version`, with the probe by which a worker proves that it holds them.

        With a direct transport they also go to the weight store afterwards, for workers that start late. That is
        waited for if a receiver was not reached, since it needs the version there.

        Args:
            receivers: names, by actor id, of workers that wait for the version; only with a direct transport.

        Raises:
            RemoteFailure: as `call_all`.
        """
        sent = self.call(Publish(version, tuple(probe), dict(receivers)))
        if self.transport.direct:
            self.begin(Keep(version))
            if sent.reached < len(receivers):
                self.finish()
        return sent

    def save(self, storage: Storage) -> dict[str, str]:
        """DeepSpeed's checkpoint: weights and optimiser of every rank. Returns the SHA-256 of each file by its path."""
        digests: dict[str, str] = {}
        for files in self.call_all(Save(storage)):
            digests |= files
        return digests

    def grow(self) -> None:
        """Restarts all ranks, as many as there is room for, if there are fewer than there may be and a node has room
        for one more. Call it right after a commit: the next order raises LearnerRestarted then.
        """
        if self.ranks == self.config.workers or time.monotonic() - self.grown_at < GROW_S:
            return
        from ray._private.state import available_resources_per_node

        if not any(self._fits(free) for free in available_resources_per_node().values()):
            return
        self.grown_at = time.monotonic()
        # By itself Ray Train's coordinator looks at the nodes every 20 s, and would not know of a new one.
        coordinator = ray.get_actor("AutoscalingCoordinator", namespace="AutoscalingCoordinator")
        wait_for(coordinator.get_reserved_resources.remote("", recompute=True), 20, "Ray's autoscaling coordinator")
        self.call(Resize())

    def _fits(self, free: Mapping[str, float]) -> bool:
        """Whether a node has room for one more rank."""
        return all(free.get(name, 0) >= count for name, count in self.rank_resources.items())

    def stop(self) -> None:
        """Ends the ranks. One that takes no more orders ends with Ray Train's own."""
        ray.wait([self._dispatch(Stop(), Stop.name)], timeout=20 if self._running else 0)
        self.thread.join(timeout=20)
        ray.kill(self.mailbox)


def collective_limit(config: LearnerConfig) -> int:
    """Seconds for an operation of all ranks: as long as an order, since all wait in one for a rank that converts a
    commit.
    """
    return max(COLLECTIVE_S, math.ceil(config.timeout_s))
