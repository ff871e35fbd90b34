"""Remembers what a writer of traces gave, so that a command that was stopped continues and pays for nothing twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from cluster.errors import UserError
from cluster.outputs import told
from curriculum.task import Task
from rewards.traces.writer import Draft

FILE_NAME = "journal.jsonl"


def content_of(task: Task) -> str:
    """A hash of a task, without the paths of its images, which may move."""
    return hashlib.sha256(task.model_dump_json(exclude={"images"}).encode()).hexdigest()[:16]


class Journal:
    """The drafts of one writer with one set of settings, as JSON lines. A context, inside which nobody else writes it.

    The first line holds writer and settings. A line that a killed process left unfinished is passed over. Verdicts are
    not kept: they follow from the texts, so that a stricter verifier pays for nothing again.

    Args:
        folder: of the output.
        writer: its name.
        settings: what its texts depend on.

    Attributes:
        path: of the file.
    """

    def __init__(self, folder: Path, writer: str, settings: Mapping[str, object]) -> None:
        self.path = folder / FILE_NAME
        self._head = json.dumps({"writer": writer, "settings": settings}, sort_keys=True)
        self._file: IO[str] | None = None
        self._content: dict[str, str] = {}

    def __enter__(self) -> Journal:
        with told("--out", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"{self.path}: another command is writing here; wait for it, or name another --out"
            ) from error
        self._file.seek(0)
        head = self._file.readline().strip()
        if not head:
            self._write(self._head)
        elif head != self._head:
            self._file.close()
            raise UserError(f"{self.path}: {_difference(head, self._head)}; name another --out, or the same settings")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def read(self, tasks: Iterable[Task]) -> list[Draft]:
        """The drafts of these tasks, as far as the tasks are the same as then; each attempt once."""
        self._content = {task.id: content_of(task) for task in tasks}
        found: dict[tuple[str, int], Draft] = {}
        assert self._file is not None
        self._file.seek(0)
        self._file.readline()
        for line in self._file:
            try:
                row = json.loads(line)
                if self._content.get(row["task"]) == row["content"]:
                    draft = Draft(row["task"], row["attempt"], tuple(row["texts"]), row["fault"], row["final"])
                    found.setdefault((draft.task_id, draft.attempt), draft)
            except (ValueError, TypeError, LookupError):
                continue
        return list(found.values())

    def add(self, draft: Draft) -> None:
        """Writes a draft at once, unless nobody answered. The tasks must have been read before."""
        if not draft.is_answered:
            return
        row = {
            "task": draft.task_id,
            "content": self._content[draft.task_id],
            "attempt": draft.attempt,
            "texts": draft.texts,
            "fault": draft.fault,
            "final": draft.is_final,
        }
        self._write(json.dumps(row))

    def _write(self, line: str) -> None:
        assert self._file is not None
        with told("--out", self.path):
            # The line break comes first, too: a line that a killed process left unfinished spoils no other.
            self._file.write(f"{line}\n" if line == self._head else f"\n{line}\n")
            self._file.flush()


def _difference(head: str, wanted: str) -> str:
    """What a journal's settings have that differs from those that are wanted."""
    try:
        there, here = json.loads(head), json.loads(wanted)
        if there["writer"] != here["writer"]:
            return f"it is of the writer {there['writer']}, not {here['writer']}"
        keys = sorted({*there["settings"], *here["settings"]})
        differing = [key for key in keys if there["settings"].get(key) != here["settings"].get(key)]
        return f"it was written with other settings ({', '.join(differing)})"
    except (ValueError, TypeError, LookupError):
        return "it is no journal of traces"
