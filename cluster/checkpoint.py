"""Commits: a folder of parts and, written last, a manifest that names and hashes each of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used. One line: which, and what is wrong with it."""


class Checkpoints:
    """The commits of a run. One without a manifest was never finished and does not count."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def lacks_room(self) -> str:
        """Why there is no room for another commit like the last one, in words; "" where there is, or where none was made."""
        committed = self.committed()
        if not committed:
            return ""
        needed = sum(path.stat().st_size for path in committed[-1].rglob("*") if path.is_file())
        free = shutil.disk_usage(self.folder).free
        return "" if free > 1.1 * needed else f"{self.folder} has {free / 2**30:.1f} GiB left, a commit takes {needed / 2**30:.1f}"

    def begin(self, step: int) -> Path:
        """An empty folder for the parts of a commit."""
        folder = self.folder / f"step-{step:07d}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def commit(self, folder: Path, state: dict[str, Any]) -> None:
        """Writes the manifest; from here on the commit counts. Older ones beyond `keep` go."""
        files = {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        partial = folder / f".{MANIFEST}"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump({"state": state, "sha256": files}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / MANIFEST)
        for old in self.committed()[: -self.keep]:
            shutil.rmtree(old)

    def committed(self) -> list[Path]:
        """Folders of finished commits, the newest last."""
        return sorted(path.parent for path in self.folder.glob(f"step-*/{MANIFEST}"))

    @staticmethod
    def load(folder: Path) -> dict[str, Any]:
        """The state of a commit whose parts are all there and as they were written.

        Raises:
            CheckpointError: the manifest is unreadable, or a part is missing or changed.
        """
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            state, files = manifest["state"], manifest["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: its manifest cannot be read ({error!r})") from error
        for name, digest in files.items():
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder}: {name} is missing")
            if _digest(folder / name) != digest:
                raise CheckpointError(f"{folder}: {name} is not what was written (its hash differs)")
        return state


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
