"""Which rows of a task set a check found bad, kept beside the set, so that a start need not check it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curriculum.sets.mapped import MappedTasks
from curriculum.sets.packed_images import split_at_archive
from curriculum.sets.stamp import Stamp, stamp_of
from curriculum.taskset import TaskRow, relative_if_inside

FILE_NAME = ".checked_rows.json"
CHECKS_KEPT = 16
_VERSION = 1


@dataclass
class BadRows:
    """The rows that a check found bad.

    Attributes:
        kinds: number of a bad row to the kind of its first fault.
        first: what is wrong with the first of them.
        advice: what would help.
    """

    kinds: dict[int, str] = field(default_factory=dict)
    first: str = ""
    advice: str = ""

    @classmethod
    def among(cls, rows: Iterable[TaskRow], advice: Callable[[], str] = str) -> BadRows:
        """Those of some checked rows that are bad. `advice` is asked after the last row."""
        bad = cls()
        for row in rows:
            if row.faults:
                bad.first = bad.first or row.describe(row.faults[0])
                bad.kinds[row.number] = row.faults[0].kind
        bad.advice = advice()
        return bad

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.kinds.values())


class CheckedRows:
    """The checks of a task set that are known, in a file beside it.

    Args:
        folder: of the set. If it cannot be written, nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def known(self, key: str, check: Callable[[], BadRows]) -> BadRows:
        """The outcome of the check that is called `key`, from the file, or from `check`."""
        checks = self._read()
        if key in checks:
            kinds, first, advice = checks[key]
            return BadRows({int(row): kind for row, kind in kinds.items()}, first, advice)
        bad = check()
        checks[key] = [bad.kinds, bad.first, bad.advice]
        self._write(dict(list(checks.items())[-CHECKS_KEPT:]))
        return bad

    def _read(self) -> dict[str, list[Any]]:
        try:
            version, checks = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return {}
        return checks if version == _VERSION else {}

    def _write(self, checks: dict[str, list[Any]]) -> None:
        partial = self.path.with_name(f"{FILE_NAME}.{os.getpid()}")
        try:
            partial.write_text(json.dumps([_VERSION, checks]), encoding="utf-8")
            os.replace(partial, self.path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def state_of(tasks: MappedTasks) -> str:
    """A hash of a set's rows and of the size and time of every image file: what a check of them depends on."""
    state = hashlib.blake2b(tasks.digest.encode(), digest_size=16)
    archives: dict[str, tuple[str, Stamp | None]] = {}  # each is looked at once for its thousands of images
    for image in tasks.images():
        archive, member = split_at_archive(image)
        if archive and archive not in archives and os.path.isfile(archive):
            archives[archive] = relative_if_inside(archive, tasks.root), stamp_of(archive)
        if archive in archives:
            name, stamp = archives[archive]
            name = f"{name}/{os.path.normpath(member)}"
        else:
            name, stamp = relative_if_inside(image, tasks.root), stamp_of(image)
        state.update(f"{name} {stamp}\n".encode(errors="surrogatepass"))
    return state.hexdigest()
