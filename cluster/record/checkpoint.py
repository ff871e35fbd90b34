"""Commits: a folder of parts, and a manifest, written last, that names and hashes each part.

The newest commits are kept whole, so that the run can go on from them, and so are the best of the stage in progress. Of
the best of earlier stages the weights alone are kept: `KEPT` takes the manifest's place there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.runtime.files import disk_words, size_words
from actors.runtime.storage import POLICY, Storage
from cluster.config.recipe import Recipe
from cluster.errors import UserError, error_line
from cluster.record.validation import Validation, best_of_each_stage

MANIFEST = "manifest.json"
KEPT = "kept.json"  # of a version whose weights alone are kept


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used. One line: which, and what is wrong with it."""


def run_checkpoints(recipe: Recipe, run: Path) -> Checkpoints:
    """The commits of the run in the folder `run`. Raises UserError: as `run_storage`."""
    storage = run_storage(recipe, run).child("checkpoints")
    return Checkpoints(storage, recipe.checkpoint.keep, recipe.checkpoint.best.keep)


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


@dataclass(frozen=True)
class KeptVersion:
    """A version whose weights the run's storage holds.

    Attributes:
        whole: whether the run can go on from it; else its weights alone are kept.
        stage: in which the run was when it was committed.
        validation: None if it was not validated.
    """

    folder: Storage
    whole: bool
    stage: str
    validation: Validation | None

    @property
    def step(self) -> int:
        return int(self.folder.name.removeprefix("step-"))


class Checkpoints:
    """The commits of a run. A commit without a manifest was never finished and does not count.

    Args:
        keep: how many of the newest commits are kept.
        keep_best: how many of the best versions of each stage are kept besides.
    """

    def __init__(self, storage: Storage, keep: int, keep_best: int = 0) -> None:
        self.storage = storage
        self.keep, self.keep_best = keep, keep_best

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

    def commit(
        self,
        folder: Storage,
        digests: Mapping[str, str],
        state: dict[str, Any],
        stage: str = "",
        validation: Validation | None = None,
    ) -> list[KeptVersion]:
        """Writes the manifest, which makes the commit count, and prunes.

        Args:
            folder: what `begin` gave, with all parts in it.
            digests: name of every part to its hash, as `Storage.take_in` returns it.
            state: the run's state, which `load` gives back.
            stage: in which the run is.
            validation: what this version scored, if it was validated.

        Returns:
            As `prune`.
        """
        manifest = {
            "state": state,
            "sha256": dict(digests),
            "stage": stage,
            "validation": validation and validation.to_dict(),
        }
        folder.write(MANIFEST, json.dumps(manifest).encode())
        return self.prune()

    def prune(self) -> list[KeptVersion]:
        """Removes what is neither among the newest commits nor among the best of a stage, and what was never finished.
        Of the best of earlier stages the weights are left.

        A process may die at any point of it: nothing that is to be kept is touched before it lies there in its last
        form, and the next call removes the rest.

        Returns:
            What is left, oldest first.
        """
        versions = self.versions()
        newest = {version.step for version in [v for v in versions if v.whole][-self.keep :]}
        scored = [version.validation for version in versions if version.validation]
        best = {validation.step for validation in best_of_each_stage(scored, self.keep_best)}
        by_name = {version.folder.name: version for version in versions}
        for name in self.storage.children():
            kept = by_name.get(name)
            if kept is None or kept.step not in newest | best:
                self._remove(self.storage.child(name))
                by_name.pop(name, None)
            elif kept.step not in newest and kept.validation and kept.validation.stage != versions[-1].stage:
                by_name[name] = self._keep_weights(kept)
        return list(by_name.values())

    def drop_after(self, step: int) -> list[KeptVersion]:
        """Removes all that was committed after `step`, whose steps are undone. Returns what it was."""
        undone = [version for version in self.versions() if version.step > step]
        for version in undone:
            self._remove(version.folder)
        return undone

    def versions(self) -> list[KeptVersion]:
        """All versions whose weights are there, oldest first. One whose manifest cannot be read has no score."""
        versions = []
        for folder in self._folders():
            whole = folder.has(MANIFEST)
            if whole or folder.has(KEPT):
                versions.append(_version(folder, whole))
        return versions

    def committed(self) -> list[Storage]:
        """Folders of finished commits that the run can go on from, newest last."""
        return [folder for folder in self._folders() if folder.has(MANIFEST)]

    def _folders(self) -> list[Storage]:
        names = [name for name in self.storage.children() if name.removeprefix("step-").isdigit()]
        return [self.storage.child(name) for name in names if name.startswith("step-")]

    @staticmethod
    def _remove(folder: Storage) -> None:
        """Removes a version; first what makes it count."""
        folder.delete(MANIFEST)
        folder.delete(KEPT)
        folder.remove()

    @staticmethod
    def _keep_weights(version: KeptVersion) -> KeptVersion:
        """Removes all of a version but its weights and what is known of it."""
        folder = version.folder
        if version.whole:
            manifest = json.loads(folder.read(MANIFEST))
            manifest["sha256"] = {POLICY: manifest["sha256"][POLICY]}
            folder.write(KEPT, json.dumps(manifest).encode())
            folder.delete(MANIFEST)
        folder.keep_only({POLICY, KEPT})
        return KeptVersion(folder, False, version.stage, version.validation)

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
        manifest = _read(folder)
        state, digests = manifest["state"], manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{folder}: its manifest cannot be read ({error_line(error)})") from error
    if not isinstance(state, dict) or not isinstance(digests, dict):
        raise CheckpointError(f"{folder}: its manifest holds no state, or no hashes of parts")
    return state, digests


def _read(folder: Storage) -> Any:
    """The manifest of a version, whether or not it is whole. Raises OSError, ValueError, RecursionError."""
    return json.loads(folder.read(MANIFEST if folder.has(MANIFEST) else KEPT))


def _version(folder: Storage, whole: bool) -> KeptVersion:
    """What is known of a version. A damaged manifest is told where the version is loaded."""
    stage, validation = "", None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        manifest = _read(folder)
        stage = str(manifest.get("stage", ""))  # a commit of an earlier release has neither
        if manifest.get("validation"):
            validation = Validation.from_dict(manifest["validation"])
    return KeptVersion(folder, whole, stage, validation)


def _check(folder: Storage, name: str, digest: str) -> None:
    try:
        there = folder.has(name)
    except ValueError as error:
        raise CheckpointError(f"{folder}: its manifest names {name!r:.60}, which is no file's name") from error
    if not there:
        raise CheckpointError(f"{folder}: {name} is missing")
    if folder.digest(name) != digest:
        raise CheckpointError(f"{folder}: {name} is not what was written (its hash differs)")
