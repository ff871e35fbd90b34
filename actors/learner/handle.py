"""The learner: Ray Train workers that run DeepSpeed and do what the run's desk tells them.

Every rank takes the same orders in the same sequence; the desk is a Ray actor that hands them out and gathers the
answers, so that the run can wait for a rank by name, with a limit.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from actors.algorithm.config import GrpoTraining
from actors.learner.config import LearnerConfig
from actors.model.encode import PromptConfig
from actors.runtime.remote import RemoteFailure, cause, wait_for
from actors.runtime.restart_policy import Restarts
from actors.runtime.storage import Storage
from actors.trajectory import ScoredGroup
from actors.weights.store import Version
from curriculum.task import Task

if TYPE_CHECKING:
    from actors.weights.broadcast import Sent

GROW_S = 300.0  # between two tries to start more ranks
RESTARTS = dict(limit=20, window_s=3600, backoff_s=0)  # Ray Train waits by itself
ENDS = ("stop", "make_room")  # orders after which a rank ends


class LearnerRestarted(RemoteFailure):
    """Ranks died, and all were started anew: what they held is lost, and the order was not carried out."""


class MoreRanks(Exception):
    """Why a rank ends that nothing is wrong with."""


class MailboxState(NamedTuple):
    """`groups` have joined so far, the last of `ranks`; `late` ranks have not answered the order that stands; `lost` says which
    ranks of the group before died, and why."""

    groups: int
    ranks: int
    late: list[str]
    answers: dict[int, Any]
    lost: list[str]


class Mailbox:
    """The mailbox between the run and the ranks: an asynchronous actor; one order at a time.

    Ray Train starts all ranks anew when one dies, or fewer or more of them. Each time they join as a new group, by a name of its
    own; an order that was given to the group before is over then.

    Args:
        ranks: as many are expected first.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.number = 0
        self.order: tuple[str, dict[str, Any]] | None = None
        self.answers: dict[int, Any] = {}
        self.group = ""
        self.joined: set[int] = set()
        self.groups = 0
        self.nodes: dict[int, str] = {}  # the address of each rank's node
        self.lost: dict[int, str] = {}  # ranks of this group that died, and why
        self.lost_before: dict[int, str] = {}  # of the group before it
        self.news = asyncio.Condition()

    def __repr__(self) -> str:
        return "learner-desk"

    async def place(self, method: str, arguments: dict[str, Any], groups: int) -> list[Any] | None:
        """Hands an order to all ranks; comes back with their answers, in order of rank.

        Args:
            groups: how many groups the run knows of. None is the answer where a later one joins before all have answered.
        """
        async with self.news:
            await self.news.wait_for(lambda: len(self.joined) == self.ranks)
            if self.groups > max(1, groups):
                return None
            self.number += 1
            self.order, self.answers = (method, arguments), {}
            self.news.notify_all()
            group = self.group
            await self.news.wait_for(lambda: len(self.answers) == self.ranks or self.group != group)
            return [self.answers[rank] for rank in range(self.ranks)] if self.group == group else None

    async def join(self, rank: int, ranks: int, group: str, node: str) -> int:
        """One of so many ranks stands. Returns the number of the last order, which is not for it."""
        async with self.news:
            if group != self.group:
                self.group, self.ranks, self.joined, self.order = group, ranks, set(), None
                self.lost_before, self.lost = self.lost, {}
                self.groups += 1
            self.joined.add(rank)
            self.nodes[rank] = node
            self.news.notify_all()
            return self.number

    async def take(self, done: int) -> tuple[int, str, dict[str, Any]] | None:
        """The order after number `done`, or None where none came within ten seconds."""
        async with self.news:
            try:
                await asyncio.wait_for(self.news.wait_for(lambda: self.order is not None and self.number > done), 10)
            except asyncio.TimeoutError:
                return None
            return self.number, *self.order

    async def answer(self, rank: int, number: int, group: str, answer: Any) -> None:
        async with self.news:
            if number == self.number and group == self.group:
                self.answers[rank] = answer
                self.news.notify_all()

    async def lose(self, faults: dict[int, str]) -> None:
        """Ray Train says which ranks died, and why."""
        self.lost |= {rank: f"learner rank {self._place(rank)}: {why}" for rank, why in faults.items()}

    async def state(self) -> MailboxState:
        late = [self._place(rank) for rank in range(self.ranks) if rank not in self.answers]
        return MailboxState(self.groups, self.ranks, late, self.answers, list(self.lost_before.values()))

    def _place(self, rank: int) -> str:
        return f"{rank} on {self.nodes.get(rank, 'an unknown node')}"


class Learner:
    """The run's handle on the ranks. Each method is one order; it waits at most `config.timeout_s`.

    Args:
        place: the scheduling strategy of the desk.
        meanwhile: is called again and again while an order is waited for.
    """

    def __init__(
        self,
        config: LearnerConfig,
        run: str,
        prompt: PromptConfig,
        model: Path,
        store: Any,
        storage: Storage,
        seed: int,
        use_learner_resource: bool,
        place: Any,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from actors.learner.rank_faults import RankFaults

        self.config, self.meanwhile = config, meanwhile
        self.groups, self.ranks = 0, config.workers  # groups that the run knows of, and how many ranks the last one has
        self.grew = -math.inf  # when it was last asked to
        self.restarts = Restarts(**RESTARTS)
        os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(config.silent_s)
        self.desk = (
            ray.remote(Mailbox)
            .options(name=f"{run}/learner-desk", num_cpus=0, max_concurrency=1000, scheduling_strategy=place)
            .remote(config.workers)
        )
        self.asks = (
            {"CPU": config.cpus}
            | ({"GPU": config.gpus} if config.gpus else {})
            | ({"learner": 1} if use_learner_resource else {})
        )
        trainer = TorchTrainer(
            learner_rank,
            train_loop_config=dict(
                config=config, prompt=prompt, model=str(model), desk=self.desk, store=store, seed=seed
            ),
            torch_config=TorchConfig(backend="nccl" if config.gpus else "gloo"),
            # Ray Train would grow at any time, and cost all steps since the last commit: `grow` chooses the moment.
            scaling_config=ScalingConfig(
                num_workers=(config.fewest, config.workers) if config.min_workers else config.workers,
                elastic_resize_monitor_interval_s=math.inf,
                use_gpu=config.gpus > 0,
                resources_per_worker=self.asks,
                placement_strategy=config.placement.upper(),
            ),
            run_config=RunConfig(
                name="learner",
                storage_path=storage.uri,
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[RankFaults(self.desk)],
            ),
        )
        self.failure: BaseException | None = None
        self.begun: tuple[str, Any] | None = None  # an order that nobody waits for yet
        self.thread = threading.Thread(target=self._fit, args=(trainer,), name="learner", daemon=True)
        self.thread.start()

    def _fit(self, trainer: Any) -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the run waits
            self.failure = error

    def order(self, method: str, **arguments: Any) -> Any:
        """As `order_all`, for rank 0's answer."""
        return self.order_all(method, **arguments)[0]

    def order_all(self, method: str, **arguments: Any) -> list[Any]:
        """Sends an order to all ranks.

        Returns:
            The answer of each.

        Raises:
            LearnerRestarted: ranks died, and all stand anew, on the model folder's weights.
            RemoteFailure: a rank failed, with its reason, or did not answer in time, with its number.
        """
        self.finish()
        return self._answers(method, self.desk.place.remote(method, arguments, self.groups))

    def begin(self, method: str, **arguments: Any) -> None:
        """Sends an order to all ranks and does not wait for it: the next order does, or `finish`."""
        self.finish()
        self.begun = (method, self.desk.place.remote(method, arguments, self.groups))

    def finish(self, wait: bool = True) -> None:
        """Waits for the order that was begun, if any; without `wait` only where there is something to hear of it.

        Raises:
            RemoteFailure: as `order_all`.
        """
        if self.begun is None:
            return
        if wait or ray.wait([self.begun[1]], timeout=0)[0] or self.failure is not None or not self.thread.is_alive():
            begun, self.begun = self.begun, None
            self._answers(*begun)

    def _answers(self, method: str, pending: Any) -> list[Any]:
        deadline = time.monotonic() + self.config.timeout_s
        while not ray.wait([pending], timeout=0.1)[0]:
            if self.failure is not None or not self.thread.is_alive():
                raise RemoteFailure(f"the learner stopped during {method}: {cause(self.failure)}") from self.failure
            if time.monotonic() > deadline:
                state = wait_for(self.desk.state.remote(), 10, "the learner's desk")
                told = "".join(
                    f"; rank {rank} failed: {a['error']}" for rank, a in state.answers.items() if "error" in a
                )
                raise RemoteFailure(
                    f"learner rank {', '.join(state.late)} did not answer {method} "
                    f"within {self.config.timeout_s:g} s{told}"
                )
            self.meanwhile()
        answers = wait_for(pending, 60, "the learner's desk")
        state = wait_for(self.desk.state.remote(), 10, "the learner's desk")
        before, self.ranks, self.groups = self.ranks, state.ranks, state.groups
        if answers is None:
            self.restarts.died(time.monotonic())
            if self.restarts.wait_s(time.monotonic()) is None:
                raise RemoteFailure(
                    f"learner ranks died {len(self.restarts.deaths)} times within {self.restarts.window_s:g} s, "
                    f"at last during {method}: {'; '.join(state.lost)}"
                )
            anew = (
                f"all {before} start anew"
                if self.ranks == before
                else f"{self.ranks} start anew, before there were {before}"
            )
            raise LearnerRestarted(
                f"learner ranks died during {method} ({'; '.join(state.lost) or 'nobody says why'}); {anew}"
            )
        for rank, answer in enumerate(answers):
            if "error" in answer:
                raise RemoteFailure(f"learner rank {rank} failed at {method}: {answer['error']}\n{answer['trace']}")
        return [answer["value"] for answer in answers]

    def ready(self) -> None:
        """Waits until every rank has loaded the model. Raises RemoteFailure."""
        while True:
            try:
                return self.order("hello")
            except LearnerRestarted:  # nothing is lost yet
                pass

    def start_stage(self, fresh_optimiser: bool, reference: bool, keep_reference: bool) -> None:
        """Prepares a stage.

        Args:
            fresh_optimiser: forget the optimiser's state.
            reference: hold a reference, the present weights or, with `keep_reference`, that of the stage before.
        """
        self.order("start_stage", fresh_optimiser=fresh_optimiser, reference=reference, keep_reference=keep_reference)

    def sft(self, tasks: Sequence[Task], lr: float) -> dict[str, Any]:
        """The step's numbers. `skipped` updates had a gradient that was not finite; `culprits` are the samples, of all ranks."""
        return self._learn("sft", tasks=tuple(tasks), lr=lr)

    def grpo(
        self, groups: Sequence[ScoredGroup], training: GrpoTraining, lr: float, temperature: float
    ) -> dict[str, Any]:
        """As `sft`."""
        return self._learn("grpo", groups=ray.put(list(groups)), training=training, lr=lr, temperature=temperature)

    def _learn(self, method: str, **arguments: Any) -> dict[str, Any]:
        rows = self.order_all(method, **arguments)
        return rows[0] | {"culprits": [culprit for row in rows for culprit in row["culprits"]]}

    def publish(
        self, version: Version, probe: Sequence[Task], receivers: Mapping[str, str] | None = None
    ) -> Sent | None:
        """Puts the weights into the store as `version`, with the probe by which a worker proves that it holds them.

        With `receivers`, names by actor of workers that wait for it, it goes straight to them, and to the store afterwards: who
        did not get it finds it there.
        """
        if receivers is None:
            return self.order("publish", version=version, probe=tuple(probe))
        sent: Sent = self.order("publish", version=version, probe=tuple(probe), receivers=dict(receivers))
        self.begin("keep", version=version)
        if sent.reached < len(receivers):
            self.finish()
        return sent

    def save(self, storage: Storage) -> dict[str, str]:
        """DeepSpeed's checkpoint: weights and optimiser of every rank. Returns the SHA-256 of each file by its path."""
        return {name: digest for files in self.order_all("save", storage=storage) for name, digest in files.items()}

    def load(self, storage: Storage) -> None:
        self.order("load", storage=storage)

    def grow(self) -> None:
        """Right after a commit: where there are fewer ranks than there may be, and a node has room for one more, all are started
        anew, as many as there is room for. The next order raises LearnerRestarted then.
        """
        if self.ranks == self.config.workers or time.monotonic() - self.grew < GROW_S:
            return
        from ray._private.state import available_resources_per_node

        if any(
            all(free.get(name, 0) >= count for name, count in self.asks.items())
            for free in available_resources_per_node().values()
        ):
            self.grew = time.monotonic()
            # By itself Ray Train's coordinator looks at the nodes every 20 s, and would not know of a new one.
            coordinator = ray.get_actor("AutoscalingCoordinator", namespace="AutoscalingCoordinator")
            wait_for(coordinator.get_reserved_resources.remote("", recompute=True), 20, "Ray's autoscaling coordinator")
            self.order("make_room")

    def export(self, folder: Path) -> None:
        """A Hugging Face folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM load."""
        self.order("export", folder=str(folder))

    def stop(self) -> None:
        """Ends the ranks; one that does not listen any more ends with Ray Train's own."""
        ray.wait(
            [self.desk.place.remote("stop", {}, self.groups)],
            timeout=20 if self.failure is None and self.thread.is_alive() else 0,
        )
        self.thread.join(timeout=20)
        ray.kill(self.desk)


def learner_rank(setup: dict[str, Any]) -> None:
    """One rank, inside Ray Train: takes orders from the desk until it is told to stop."""
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    rank, ranks = get_context().get_world_rank(), get_context().get_world_size()
    desk, worker, who = setup["desk"], None, f"learner rank {rank}'s desk"
    group = broadcast_from_rank_zero(uuid.uuid4().hex)
    done = wait_for(desk.join.remote(rank, ranks, group, ray.util.get_node_ip_address()), 60, who)
    while True:
        order = wait_for(desk.take.remote(done), 60, who)
        if order is None:
            continue
        done, method, arguments = order
        try:
            if worker is None:
                from actors.learner.rank import DeepSpeedRank

                worker = DeepSpeedRank(setup, rank, ranks)
            answer = {"value": getattr(worker, method)(**arguments) if method not in ENDS else None}
        except Exception as error:  # noqa: BLE001 - told to the run, which names the rank
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        wait_for(desk.answer.remote(rank, done, group, answer), 60, who)
        if method == "stop":
            return
        if method == "make_room":
            raise MoreRanks("there is room for more ranks")  # Ray Train starts as many as it can after a failure
