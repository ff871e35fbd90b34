"""The run's handle on its reward workers. A response that crashes or hangs its worker costs its own verdict alone."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from actors.trajectory import Group
from actors.waiting import RemoteFailure, wait_for
from rewards.verdict import Verdict, unscored

from .rollout_pool import shares

START_TIMEOUT_S = 120


@dataclass
class _Batch:
    """Responses with their places in the answer, and how long a worker may take over them."""

    first: int
    responses: Sequence[Response]
    seconds: float


class RewardPool:
    """Every worker takes an equal share; which worker scores what changes no verdict.

    A worker that dies, or is late, is replaced, and its share is tried again in halves, down to the one response that
    is at fault.
    """

    def __init__(self, run: str, config: RewardWorkersConfig) -> None:
        self.run, self.config = run, config
        self.started = 0
        self.workers = [self._start(rank) for rank in range(config.workers)]

    def score(self, groups: Sequence[Group], evaluation: bool = False) -> list[tuple[Verdict, ...]]:
        """The verdicts of each group's responses, in order.

        Raises:
            RemoteFailure: a worker that takes the place of another does not start.
        """
        responses = [Response(group.task, index, t.text, t.truncated)
                     for group in groups for index, t in enumerate(group.trajectories)]
        verdicts = self._score(responses, evaluation)
        return [tuple(verdicts.popleft() for _ in group.trajectories) for group in groups]

    def _score(self, responses: Sequence[Response], evaluation: bool) -> deque[Verdict]:
        waiting: deque[_Batch] = deque()
        for share in shares(responses, len(self.workers)):
            first = waiting[-1].first + len(waiting[-1].responses) if waiting else 0
            waiting.append(_Batch(first, share, self.config.timeout_s))
        verdicts: dict[int, Verdict] = {}
        idle = list(range(len(self.workers)))
        busy: dict[Any, tuple[int, _Batch, float]] = {}  # call → worker, batch, until when
        while waiting or busy:
            while waiting and idle:
                rank, batch = idle.pop(0), waiting.popleft()
                call = self.workers[rank].score.remote(batch.responses, evaluation)
                busy[call] = rank, batch, time.monotonic() + batch.seconds
            soonest = min(until for _, _, until in busy.values())
            done, _ = ray.wait(list(busy), timeout=max(0.0, soonest - time.monotonic()))
            late = [call for call, (_, _, until) in busy.items() if call not in done and until <= time.monotonic()]
            for call in [*done, *late]:
                rank, batch, _ = busy.pop(call)
                idle.append(rank)
                try:
                    if call in late:
                        raise RemoteFailure(f"reward-{rank} did not answer within {batch.seconds:g} s")
                    verdicts |= enumerate(wait_for(call, 60, f"reward-{rank}"), batch.first)
                except RemoteFailure as error:
                    self._replace(rank)
                    if len(batch.responses) == 1:
                        verdicts[batch.first] = unscored(str(error))
                    else:
                        waiting.extend(self._halves(batch))
        return deque(verdicts[i] for i in range(len(responses)))

    def _halves(self, batch: _Batch) -> list[_Batch]:
        seconds = max(self.config.response_timeout_s, batch.seconds / 2)
        first, second = shares(batch.responses, 2)
        return [_Batch(batch.first, first, seconds), _Batch(batch.first + len(first), second, seconds)]

    def _replace(self, rank: int) -> None:
        ray.kill(self.workers[rank])
        self.workers[rank] = self._start(rank)
        wait_for(self.workers[rank].ready.remote(), START_TIMEOUT_S, f"reward-{rank}, started again,")

    def _start(self, rank: int) -> Any:
        self.started += 1
        name = f"reward-{rank}" if self.started <= self.config.workers else f"reward-{rank}-start-{self.started}"
        actor = ray.remote(RewardWorker).options(name=f"{self.run}/{name}", num_cpus=self.config.cpus)
        return actor.remote(rank, self.config, os.getcwd())

    def stop(self) -> None:
        for worker in self.workers:
            ray.kill(worker)

