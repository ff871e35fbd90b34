"""What a work pool knows of one of its workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cluster.pools.shares import Call, CallKind
from cluster.pools.worker_health import Health, State


@dataclass
class WorkerHandle:
    """One worker: its actor, its health, and the calls that it has not answered yet.

    Attributes:
        calls: unanswered calls, by their Ray reference.
        pending: how many calls of each kind are unanswered.
        node: the id of its node, known once it has started.
        address: the address of that node.
        proof: its answer to the update that brought it to its version.
    """

    rank: int
    name: str
    actor: Any
    health: Health
    calls: dict[Any, Call] = field(default_factory=dict)
    pending: Counter[CallKind] = field(default_factory=Counter)
    node: str = ""
    address: str = ""
    proof: Any = None

    @property
    def title(self) -> str:
        """Its name and, once it has started, its address."""
        return f"{self.name} on {self.address}" if self.address else self.name

    @property
    def started(self) -> bool:
        """Whether it is up: it has started and is not dead."""
        return self.health.alive and self.health.state is not State.STARTING

    def register(self, ref: Any, call: Call) -> None:
        """Notes a call that was sent to the actor."""
        self.calls[ref] = call
        self.pending[call.kind] += 1

    def complete(self, ref: Any) -> Call:
        """Removes a call that was answered, or that nobody waits for any more."""
        call = self.calls.pop(ref)
        self.pending[call.kind] -= 1
        return call

    def drop_calls(self) -> None:
        """Forgets every unanswered call."""
        self.calls.clear()
        self.pending.clear()
