"""`curlvpr export`: the model folder of a version that a run keeps. Starts no worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.runtime.files import disk_named
from actors.runtime.storage import POLICY
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError, error_line
from cluster.outputs import told
from cluster.record.checkpoint import CheckpointError, Checkpoints, KeptVersion, run_checkpoints
from cluster.record.run_status import check_run_folder


def kept_versions(run: Path) -> list[KeptVersion]:
    """The versions whose weights a run keeps, oldest first. Raises UserError: they cannot be read."""
    check_run_folder(run)
    checkpoints = run_checkpoints(load_recipe(run / "recipe.yaml"), run)
    try:
        return checkpoints.versions()
    except OSError as error:
        raise UserError(f"{checkpoints.storage} cannot be read: {error_line(error)}") from error


def version_words(version: KeptVersion) -> str:
    """A version in one line: its step, its score if it was validated, and whether the run can go on from it."""
    words = version.validation.words if version.validation else f"step {version.step}: not validated"
    return words if version.whole else f"{words} (weights alone)"


def export_version(run: Path, step: int, out: Path | None = None) -> Path:
    """Writes the Hugging Face folder of the version at `step`.

    Args:
        out: a new folder; `run`/model-step-N where left out, so that `curlvpr eval` finds the run's prompt.

    Returns:
        The folder.

    Raises:
        UserError: no such version is kept, it is damaged, or the folder exists or cannot be written.
    """
    versions = kept_versions(run)
    version = next((version for version in versions if version.step == step), None)
    if version is None:
        raise UserError(f"--step {step}: {_kept_words(run, versions)}")
    folder = (out or run / f"model-step-{step}").absolute()
    if folder.exists():
        raise UserError(f"--out {folder}: exists already; name a new folder")
    if not folder.parent.is_dir():
        raise UserError(f"--out {folder}: there is no folder {folder.parent}; make it, or name another one")
    recipe = load_recipe(run / "recipe.yaml")
    base = run / "base" if recipe.model.path is None else recipe.model.folder
    from actors.model.folder.export import export_weights

    try:
        Checkpoints.load_policy(version.folder)
        with told("--out", folder), disk_named(folder), version.folder.file(POLICY) as weights:
            export_weights(weights, base, recipe.prompt_config, recipe.learner.dtype, folder)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    return folder


def _kept_words(run: Path, versions: Sequence[KeptVersion]) -> str:
    if not versions:
        return f"{run} keeps no version so far"
    return f"{run} keeps no such version; it keeps {' | '.join(map(version_words, versions))}"
