"""Values of a rule by the content that it judged: in memory, and on disk if they should outlive the process."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

from rewards.config import OwnRule
from rewards.custom_rules import RuleInput

SIZE = 100_000


def content_key(own: OwnRule, item: RuleInput) -> str:
    """A hash of everything that a value depends on: rule, options, task, response and verdict."""
    parts = (own.rule, json.dumps(own.options, sort_keys=True, default=repr), item.task.model_dump_json())
    digest = hashlib.sha256()
    for part in (*parts, item.response, repr(item.verdict)):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()


class ValueCache:
    """The last `size` values that were used.

    Args:
        folder: where values are kept as JSON lines, one file per writer, all of which are read at the start; None to
            keep them in memory only.
        writer: the name of this process's file.

    Attributes:
        notes: what is wrong with the files, in words; the reader empties the list.
    """

    def __init__(self, size: int = SIZE, folder: Path | None = None, writer: str = "values") -> None:
        self.size = size
        self.notes: list[str] = []
        self._values: OrderedDict[str, float] = OrderedDict()
        self._file: Path | None = None
        if folder is not None:
            self._read(folder)
            self._file = folder / f"{writer}.jsonl"

    def get(self, key: str) -> float | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: float) -> None:
        self._keep(key, value)
        if self._file is None:
            return
        try:
            with self._file.open("a", encoding="utf-8") as file:
                # The line break comes first: a line that a killed process left unfinished spoils no other.
                file.write("\n" + json.dumps({"key": key, "value": value}))
        except OSError as error:
            self.notes.append(f"{self._file}: cannot be written ({error.strerror}); values are kept in memory only")
            self._file = None

    def _keep(self, key: str, value: float) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self.size:
            self._values.popitem(last=False)

    def _read(self, folder: Path) -> None:
        """Reads every file. A line that a killed process left unfinished is passed over."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._keep(str(entry["key"]), float(entry["value"]))
                except (ValueError, TypeError, LookupError):
                    continue
