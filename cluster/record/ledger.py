"""The ledger: what became of every group. Each change is one line of an event log.

Checked at every step: issued = trained + dropped + in flight.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from actors.runtime.files import drop
from actors.trajectory import Request


class LedgerError(RuntimeError):
    """The counts do not balance, or a group was booked twice."""


class Ledger:
    """Books each group as issued, and later as trained or dropped, once.

    Args:
        path: the event log, JSON lines. The ledger only ever appends to it; `committed_events` reads it.
    """

    EMPTY: ClassVar[dict[str, Any]] = {
        "counts": {"issued": 0, "trained": 0, "dropped": 0},
        "in_flight": [],
        "bytes": 0,
    }
    """The state of a run that has not begun."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter(self.EMPTY["counts"])
        self.in_flight: set[str] = set()
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - until `close`

    def issue(self, request: Request, stage: str, step: int, pass_number: int) -> None:
        """A worker was asked for the group, in this pass over the stage's tasks."""
        if request.group_id in self.in_flight:
            raise LedgerError(f"group {request.group_id} was issued twice")
        self.in_flight.add(request.group_id)
        self._write(
            "issued",
            request.group_id,
            task=request.task.id,
            pass_number=pass_number,
            seed=request.seed,
            stage=stage,
            step=step,
        )

    def train(self, group_id: str, version: int) -> None:
        """The group went into the update that made `version`."""
        self._resolve("trained", group_id, version=version)

    def drop(self, group_id: str, reason: str) -> None:
        """The group will never be trained."""
        self._resolve("dropped", group_id, reason=reason)

    def check(self) -> None:
        """Flushes the events to the file. Raises LedgerError: the counts do not balance."""
        counts = self.counts
        if counts["issued"] != counts["trained"] + counts["dropped"] + len(self.in_flight):
            raise LedgerError(
                f"issued {counts['issued']} ≠ trained {counts['trained']} + dropped {counts['dropped']} "
                f"+ in flight {len(self.in_flight)}"
            )
        self._file.flush()

    def totals(self) -> dict[str, int]:
        return {**self.counts, "in_flight": len(self.in_flight)}

    def abandon(self) -> None:
        """Drops what is not written yet."""
        drop(self._file)

    def close(self) -> None:
        self._file.close()

    def state_dict(self) -> dict[str, Any]:
        self._file.flush()
        return {"counts": dict(self.counts), "in_flight": sorted(self.in_flight), "bytes": self._file.tell()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state`. Events after it stay in the file, and a line marks that they no longer count."""
        self.counts = Counter(state["counts"])
        self.in_flight = set(state["in_flight"])
        self._file.flush()
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            file.seek(max(0, size - 1))
            whole = file.read(1) in (b"\n", b"")
        if size > state["bytes"]:  # a line that the process did not finish is ended here
            self._file.write(("" if whole else "\n") + json.dumps({"event": "rewound", "bytes": state["bytes"]}) + "\n")
            self._file.flush()

    def _resolve(self, event: str, group_id: str, **fields: Any) -> None:
        if group_id not in self.in_flight:
            raise LedgerError(f"group {group_id} is {event} but not in flight")
        self.in_flight.remove(group_id)
        self._write(event, group_id, **fields)

    def _write(self, event: str, group_id: str, **fields: Any) -> None:
        self.counts[event] += 1
        self._file.write(json.dumps({"event": event, "group": group_id, **fields}) + "\n")


def committed_events(path: Path) -> list[dict[str, Any]]:
    """The events of a ledger that count, in order: without those that the run went back over."""
    events: list[tuple[int, dict[str, Any]]] = []
    position = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:  # the process died while it wrote the line
                event = None
            if event and event["event"] == "rewound":
                while events and events[-1][0] >= event["bytes"]:
                    events.pop()
            elif event:
                events.append((position, event))
            position += len(line)
    return [event for _, event in events]
