"""The health of a worker as a state machine. Pure: the caller passes the time.

    starting ── started ──▶ syncing ── verified ──▶ ready ◀── heard ── suspect
                                                      └──── silent ──▶ suspect ── silent ──▶ dead
    ready, suspect ── drain ──▶ draining ── idle ──▶ dead            any ── died ──▶ dead

Times are seconds on any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    STARTING = "starting"  # its process and engine are starting; it cannot answer yet
    SYNCING = "syncing"  # it answers, but holds no verified weights
    READY = "ready"
    SUSPECT = "suspect"  # silent for a while: no new work
    DRAINING = "draining"  # finishes its shares, then goes
    DEAD = "dead"


@dataclass(frozen=True)
class Limits:
    """How long a worker may be silent, in seconds.

    Attributes:
        start_s: while it starts.
        suspect_s: before it gets no more work.
        dead_s: before it is given up as dead.
        start_setting: where a recipe sets `start_s`; "" if it does not.
    """

    start_s: float = 600
    suspect_s: float = 20
    dead_s: float = 60
    start_setting: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.suspect_s < self.dead_s:
            raise ValueError(f"suspect_s {self.suspect_s:g} must be above 0 and below dead_s {self.dead_s:g}")


@dataclass
class Health:
    """The health of one worker. An event that does not fit its state changes nothing, since events may come late.

    Attributes:
        since: when it entered its state.
        heard_at: when it last answered.
        version: of the weights that it proved to hold; None before the first, and if that is unknown.
        why: what made it suspect or dead, in words; "" otherwise.
    """

    limits: Limits
    since: float
    state: State = State.STARTING
    heard_at: float = field(default=0.0, init=False)
    version: Any = field(default=None, init=False)
    why: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.heard_at = self.since

    @property
    def accepts(self) -> bool:
        """Whether it may be given work."""
        return self.state is State.READY

    @property
    def alive(self) -> bool:
        return self.state is not State.DEAD

    def started(self, now: float) -> None:
        """It is up and can answer."""
        if self.state is State.STARTING:
            self._enter(State.SYNCING, now)
            self._hear(now)

    def heard(self, now: float) -> None:
        """It answered something. A suspect worker is trusted again, as far as it was before."""
        if self.state is State.SUSPECT:
            self._enter(State.SYNCING if self.version is None else State.READY, now)
        self._hear(now)

    def pinged(self, now: float) -> None:
        """It is asked for a sign of life. Its silence counts from here."""
        self._hear(now)

    def verified(self, version: Any, now: float) -> None:
        """It proved that it holds the weights of `version`."""
        if self.state in (State.SYNCING, State.READY, State.SUSPECT, State.DRAINING):
            self.version = version
            self.heard(now)
            if self.state is State.SYNCING:
                self._enter(State.READY, now)

    def drain(self, now: float) -> None:
        """It gets no more work, and goes once it has none left."""
        if self.state in (State.SYNCING, State.READY, State.SUSPECT):
            self._enter(State.DRAINING, now)
        elif self.state is State.STARTING:
            self.died("not needed any more", now)

    def idle(self, now: float) -> None:
        """It has no work left."""
        if self.state is State.DRAINING:
            self.died("drained", now)

    def died(self, why: str, now: float) -> None:
        """It is dead, or as good as dead."""
        if self.alive:
            self._enter(State.DEAD, now, why)

    def tick(self, now: float) -> None:
        """Time passes. A worker that is silent for long becomes suspect, then dead."""
        silent_s = now - self.heard_at
        if self.state is State.STARTING:
            if now - self.since > self.limits.start_s:
                setting = f" ({self.limits.start_setting})" if self.limits.start_setting else ""
                self.died(f"did not start within {self.limits.start_s:g} s{setting}", now)
        elif self.alive and silent_s > self.limits.dead_s:
            self.died(f"did not answer for {self.limits.dead_s:g} s", now)
        elif self.state in (State.SYNCING, State.READY) and silent_s > self.limits.suspect_s:
            self._enter(State.SUSPECT, now, f"has not answered for {self.limits.suspect_s:g} s")

    def _hear(self, now: float) -> None:
        self.heard_at = max(self.heard_at, now)

    def _enter(self, state: State, now: float, why: str = "") -> None:
        self.state = state
        self.since = now
        self.why = why
