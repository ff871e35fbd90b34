"""Reward workers: Ray actors; responses in, verdicts out."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.reward.config import RewardWorkersConfig
from actors.reward.rule_worker import RemoteTarget
from curriculum.task import Task
from rewards.calls.own_rules import OwnRules
from rewards.calls.runner import Place
from rewards.score import Answer, begin_scores, score
from rewards.verdict import Verdict

LOOP_S = 60.0  # an event loop that does not answer for this long is blocked


@dataclass(frozen=True, slots=True)
class Response:
    """One response to score: number `index` of its group."""

    task: Task
    index: int
    text: str
    truncated: bool


class RewardWorker:
    """Scores responses by the recipe's rules. Its only state is that of own rules that wait: caches and limits.

    With such rules it works on several shares at once, in threads of Ray's. What need not wait is done by one thread at
    a time.

    Args:
        path: a folder that is searched for the modules of the recipe's own rules, in addition to installed packages.
        rule_workers: the actors of own rules that have some, by rule.
        cache: the folder for values of own rules that are kept on disk.
    """

    def __init__(
        self,
        rank: int,
        config: RewardWorkersConfig,
        path: str,
        rule_workers: Mapping[str, Sequence[Any]] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.rank = rank
        self.config = config
        if path not in sys.path:
            sys.path.append(path)
        targets = {name: RemoteTarget(actors) for name, actors in (rule_workers or {}).items()}
        self.rules = OwnRules(config.rules.own, Place(rank, config.workers, cache), targets)
        self._turn = threading.Lock()
        self._busy_since: float | None = None

    def __repr__(self) -> str:
        return f"reward-{self.rank}"

    def ready(self) -> str:
        """Returns the id of its node, once the worker is up and the models of its rules are loaded."""
        self.rules.start()
        return ray.get_runtime_context().get_node_id()

    def ping(self) -> None:
        """Shows that it is alive. Only asked of workers with own rules that wait.

        Raises:
            RuntimeError: a response has kept it busy for too long, or a rule blocks the event loop.
        """
        busy_since, limit_s = self._busy_since, self.config.response_timeout_s
        if busy_since is not None and time.monotonic() - busy_since > limit_s:
            raise RuntimeError(f"a response took longer than {limit_s:g} s to score")
        if not self.rules.is_alive(LOOP_S):
            raise RuntimeError(
                f"an async rule blocked the event loop for {LOOP_S:g} s; it must await, not wait, or be a class with "
                "score_batch"
            )

    def score(self, responses: Sequence[Response], evaluation: bool, workers: int | None = None) -> list[Verdict]:
        """The verdict on each response, in order.

        Args:
            workers: how many reward workers there are now; they share the limits of own rules.
        """
        verdicts = self._true_verdicts(responses, workers or self.config.workers)
        if self.config.control == "random" and not evaluation:
            pairs = zip(responses, verdicts, strict=True)
            verdicts = [_randomised(verdict, f"{r.task.id}/{r.index}/{r.text}") for r, verdict in pairs]
        return verdicts

    def take_notes(self) -> list[str]:
        """What happened since the last call that concerns an own rule as a whole, in words."""
        return self.rules.take_notes() if self.rules.runners else []

    def _true_verdicts(self, responses: Sequence[Response], workers: int) -> list[Verdict]:
        rules = self.config.rules
        if not rules.own:
            return [score(r.task, r.text, rules, r.truncated) for r in responses]
        self.rules.share_with(workers)
        with self._turn:
            answers = [Answer(r.task, r.text, r.truncated) for r in responses]
            try:
                finish = begin_scores(answers, rules, self.rules, self._note_progress)
            finally:
                self._busy_since = None
        return finish()

    def _note_progress(self) -> None:
        self._busy_since = time.monotonic()


def _randomised(verdict: Verdict, key: str) -> Verdict:
    """The verdict with random scores. They come from a hash of `key`, so every worker gives the same."""

    def number(name: object) -> float:
        return int.from_bytes(hashlib.sha256(f"{key}/{name}".encode()).digest()[:6], "big") / 2**48

    steps = tuple(step._replace(score=float(number(i) < 0.5)) for i, step in enumerate(verdict.steps))
    return verdict._replace(base=number("base"), total=number("base"), steps=steps, why=("random control",))
