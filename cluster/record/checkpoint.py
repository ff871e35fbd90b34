"""Commits: a folder of parts, and a manifest, written last, that names and hashes each part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.runtime.files import disk_words, size_words
from actors.runtime.storage import POLICY, Storage
from cluster.config.recipe import Recipe
from cluster.errors import UserError

MANIFEST = "manifest.json"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used. One line: which, and what is wrong with it."""


def run_checkpoints(recipe: Recipe, run: Path) -> Checkpoints:
    """The commits of the run in the folder `run`. Raises UserError: as `run_storage`."""
    return Checkpoints(run_storage(recipe, run).child("checkpoints"), recipe.checkpoint.keep)


def run_storage(recipe: Recipe, run: Path) -> Storage:
    """Where the run in the folder `run` keeps its commits: in that folder, or where the recipe says.

    Raises:
        UserError: the storage that the recipe names cannot be reached.
    """
    if recipe.checkpoint.storage is None:
        return Storage(str(run.absolute()))
    try:
        return Storage(recipe.checkpoint.storage).child(run.name)
    except (ValueError, OSError) as error:
        raise UserError(f"checkpoint.storage: {' '.join(str(error).split())}") from error


class Checkpoints:
    """The commits of a run. A commit without a manifest was never finished and does not count."""

    def __init__(self, storage: Storage, keep: int) -> None:
        self.storage = storage
        self.keep = keep

    def missing_space(self, estimate: int = 0) -> str:
        """Why there is no space for another commit like the last one, in words; "" if there is.

        Args:
            estimate: what a commit takes, in bytes, as long as none was made.
        """
        committed = self.committed()
        free = self.storage.free()
        needed = committed[-1].size() if committed else estimate
        if free is None or free > 1.1 * needed:  # a bucket does not say
            return ""
        return f"the disk of {self.storage}, {disk_words(self.storage.path)}, lacks the {size_words(needed)} for it"

    def newest_words(self) -> str:
        """From where a resumed run would go on: "the last one is step-0000040"."""
        committed = self.committed()
        return f"the last one is {committed[-1].name}" if committed else "there is none so far"

    def begin(self, step: int) -> Storage:
        """An empty folder for the parts of a commit."""
        folder = self.storage.child(f"step-{step:07d}")
        folder.clear()
        return folder

    def commit(self, folder: Storage, digests: Mapping[str, str], state: dict[str, Any]) -> None:
        """Writes the manifest, which makes the commit count. Removes commits beyond `keep` and unfinished ones.

        Args:
            folder: what `begin` gave, with all parts in it.
            digests: name of every part to its hash, as `Storage.take_in` returns it.
            state: the run's state, which `load` gives back.
        """
        folder.write(MANIFEST, json.dumps({"state": state, "sha256": dict(digests)}).encode())
        kept = {commit.name for commit in self.committed()[-self.keep :]}
        for name in self.storage.children():
            if name not in kept:
                self.storage.child(name).remove()

    def committed(self) -> list[Storage]:
        """Folders of finished commits, newest last."""
        folders = (self.storage.child(name) for name in self.storage.children() if name.startswith("step-"))
        return [folder for folder in folders if folder.has(MANIFEST)]

    @staticmethod
    def load(folder: Storage) -> dict[str, Any]:
        """The state of a commit, after every part was checked. Raises CheckpointError: a part is missing or changed."""
        state, digests = _manifest(folder)
        for name, digest in digests.items():
            _check(folder, name, digest)
        return state

    @staticmethod
    def load_policy(folder: Storage) -> dict[str, Any]:
        """The state of a commit, after its `POLICY` alone was checked. Raises CheckpointError."""
        state, digests = _manifest(folder)
        _check(folder, POLICY, digests.get(POLICY, ""))
        return state


def _manifest(folder: Storage) -> tuple[dict[str, Any], dict[str, str]]:
    """The state, and the hash of each part by its name."""
    try:
        manifest = json.loads(folder.read(MANIFEST))
        return manifest["state"], manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: its manifest cannot be read ({error!r})") from error


def _check(folder: Storage, name: str, digest: str) -> None:
    if not folder.has(name):
        raise CheckpointError(f"{folder}: {name} is missing")
    if folder.digest(name) != digest:
        raise CheckpointError(f"{folder}: {name} is not what was written (its hash differs)")
