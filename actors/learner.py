"""The learner: Ray Train workers that run DeepSpeed and do what the run's desk tells them.

Every rank takes the same orders in the same sequence; the desk is a Ray actor that hands them out and gathers the
answers, so that the run can wait for a rank by name, with a limit.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from curriculum.task import Task

from .encode import PromptConfig
from .training import GrpoTraining, LearnerConfig, SftTraining
from .trajectory import ScoredGroup
from .waiting import RemoteFailure, wait_for


NAMES_AN_ERROR = re.compile(r"\w(Error|Exception|Killed): ")


class Desk:
    """The mailbox between the run and the ranks: an asynchronous actor; one order at a time."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.number = 0
        self.order: tuple[str, dict[str, Any]] | None = None
        self.answers: dict[int, Any] = {}
        self.seen: dict[int, float] = {}
        self.news = asyncio.Condition()

    def __repr__(self) -> str:
        return "learner-desk"

    async def place(self, method: str, arguments: dict[str, Any]) -> list[Any]:
        """Hands an order to all ranks; comes back with their answers, in order of rank."""
        async with self.news:
            self.number += 1
            self.order, self.answers = (method, arguments), {}
            self.news.notify_all()
            await self.news.wait_for(lambda: len(self.answers) == self.ranks)
            return [self.answers[rank] for rank in range(self.ranks)]

    async def take(self, rank: int, done: int) -> tuple[int, str, dict[str, Any]] | None:
        """The order after number `done`, or None where none came within ten seconds."""
        self.seen[rank] = time.time()
        async with self.news:
            try:
                await asyncio.wait_for(self.news.wait_for(lambda: self.number > done), 10)
            except asyncio.TimeoutError:
                return None
            return self.number, *self.order

    async def answer(self, rank: int, number: int, answer: Any) -> None:
        async with self.news:
            if number == self.number:
                self.answers[rank] = answer
                self.news.notify_all()

    async def missing(self) -> list[int]:
        """Ranks that have not answered the order that stands."""
        return [rank for rank in range(self.ranks) if rank not in self.answers]


class Learner:
    """The run's handle on the ranks. Each method is one order; it waits at most `config.timeout_s`."""

    def __init__(self, config: LearnerConfig, run: str, prompt: PromptConfig, model: Path, store: Any, storage: Path, seed: int,
                 use_learner_resource: bool) -> None:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        self.config = config
        self.desk = ray.remote(Desk).options(name=f"{run}/learner-desk", num_cpus=0, max_concurrency=1000).remote(config.workers)
        resources = {"CPU": config.cpus} | ({"GPU": config.gpus} if config.gpus else {})
        if use_learner_resource:
            resources["learner"] = 1
        trainer = TorchTrainer(
            learner_rank,
            train_loop_config=dict(config=config, prompt=prompt, model=str(model), desk=self.desk, store=store, seed=seed),
            torch_config=TorchConfig(backend="nccl" if config.gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.gpus > 0, resources_per_worker=resources),
            run_config=RunConfig(name="learner", storage_path=str(storage)))
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._fit, args=(trainer,), name="learner", daemon=True)
        self.thread.start()

    def _fit(self, trainer: Any) -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the run waits
            self.failure = error

    def order(self, method: str, **arguments: Any) -> Any:
        """Sends an order to all ranks.

        Returns:
            Rank 0's answer.

        Raises:
            RemoteFailure: a rank failed, with its reason, or did not answer in time, with its number.
        """
        pending = self.desk.place.remote(method, arguments)
        deadline = time.monotonic() + self.config.timeout_s
        while not ray.wait([pending], timeout=1.0)[0]:
            if self.failure is not None or not self.thread.is_alive():
                raise RemoteFailure(f"the learner stopped during {method}: {_cause(self.failure)}") from self.failure
            if time.monotonic() > deadline:
                late = ray.get(self.desk.missing.remote(), timeout=10)
                raise RemoteFailure(f"learner rank {', '.join(map(str, late))} did not answer {method} "
                                    f"within {self.config.timeout_s:g} s")
        answers = ray.get(pending, timeout=60)
        for rank, answer in enumerate(answers):
            if "error" in answer:
                raise RemoteFailure(f"learner rank {rank} failed at {method}: {answer['error']}\n{answer['trace']}")
        return answers[0]["value"]

    def ready(self) -> None:
        """Waits until every rank has loaded the model."""
        self.order("hello")

    def start_stage(self, training: SftTraining | GrpoTraining, first: bool) -> None:
        keep = isinstance(training, GrpoTraining) and training.optimiser == "keep"
        keep_reference = isinstance(training, GrpoTraining) and training.reference == "keep"
        self.order("start_stage", fresh_optimiser=not first and not keep,
                   reference=isinstance(training, GrpoTraining) and training.kl > 0, keep_reference=keep_reference)

    def sft(self, tasks: Sequence[Task], lr: float) -> dict[str, float]:
        return self.order("sft", tasks=tuple(tasks), lr=lr)

    def grpo(self, groups: Sequence[ScoredGroup], training: GrpoTraining, lr: float, temperature: float) -> dict[str, float]:
        return self.order("grpo", groups=ray.put(list(groups)), training=training, lr=lr, temperature=temperature)

    def publish(self, version: int, probe: Sequence[Task]) -> None:
        """Puts the weights into the store as `version`, with the probe by which a worker proves that it holds them."""
        self.order("publish", version=version, probe=tuple(probe))

    def save(self, folder: Path) -> None:
        """DeepSpeed's checkpoint: weights and optimiser of every rank."""
        self.order("save", folder=str(folder))

    def load(self, folder: Path) -> None:
        self.order("load", folder=str(folder))

    def export(self, folder: Path) -> None:
        """A Hugging Face folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM load."""
        self.order("export", folder=str(folder))

    def stop(self) -> None:
        """Ends the ranks; one that does not listen any more ends with Ray Train's own."""
        ray.wait([self.desk.place.remote("stop", {})], timeout=20 if self.failure is None and self.thread.is_alive() else 0)
        self.thread.join(timeout=20)
        ray.kill(self.desk)


def _cause(error: BaseException | None) -> str:
    """One line out of Ray Train's many: the newest that names an error, else the last."""
    lines = str(error).strip().splitlines() if error is not None else ["it ended without an error"]
    return next((line.strip() for line in reversed(lines) if NAMES_AN_ERROR.search(line)), lines[-1])


def learner_rank(setup: dict[str, Any]) -> None:
    """One rank, inside Ray Train: takes orders from the desk until it is told to stop."""
    from ray.train import get_context

    from .environment import quiet_libraries

    quiet_libraries()
    rank = get_context().get_world_rank()
    desk, done = setup["desk"], 0
    worker = None
    while True:
        order = wait_for(desk.take.remote(rank, done), 60, f"learner rank {rank}'s desk")
        if order is None:
            continue
        done, method, arguments = order
        try:
            if worker is None:
                from .deepspeed_rank import DeepSpeedRank

                worker = DeepSpeedRank(setup, rank, get_context().get_world_size())
            answer = {"value": getattr(worker, method)(**arguments) if method != "stop" else None}
        except Exception as error:  # noqa: BLE001 - told to the run, which names the rank
            answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        wait_for(desk.answer.remote(rank, done, answer), 60, f"learner rank {rank}'s desk")
        if method == "stop":
            return
