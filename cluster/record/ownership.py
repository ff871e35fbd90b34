"""A run's folder and the place of its commits, owned by this process: no other writes there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from actors.runtime.files import missing, remove_empty, write_reason
from actors.runtime.storage import Storage
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.record.checkpoint import run_storage
from cluster.record.lease import FolderTaken, Lease
from cluster.record.store_lease import StoreLease, taken_by


class Ownership:
    """What this process owns of a run."""

    def __init__(self, leases: Sequence[Lease | StoreLease]) -> None:
        self.leases = leases

    def check(self) -> None:
        """Raises LeaseLost: another process was seen to have the run. Quick: asks no store."""
        for lease in self.leases:
            lease.check()

    def confirm(self) -> None:
        """As `check`, but asks the store of the commits, too. Raises OSError: it cannot be reached."""
        for lease in self.leases:
            lease.confirm() if isinstance(lease, StoreLease) else lease.check()


@contextmanager
def own_run(recipe: Recipe, run: Path, take_over: bool = False) -> Iterator[Ownership]:
    """Owns the run in the folder `run`, which exists, and where it keeps its commits, until the block ends.

    Args:
        take_over: as in `Lease`.

    Raises:
        FolderTaken: another process has one of them.
        UserError: one of them cannot be written.
    """
    with ExitStack() as stack:
        leases: list[Lease | StoreLease] = [stack.enter_context(Lease(run, take_over))]
        if recipe.checkpoint.storage is not None:
            place = run_storage(recipe, run)
            if place.local:
                leases.append(stack.enter_context(_folder_lease(place, take_over)))
            else:
                leases.append(stack.enter_context(StoreLease(place, take_over)))
        yield Ownership(leases)


@contextmanager
def _folder_lease(place: Storage, take_over: bool) -> Iterator[Lease]:
    """A lease on a folder outside the run folder, made if it is not there. A run that is refused leaves none."""
    folder = Path(place.path)
    new = missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"checkpoint.storage: {place} cannot be made: {write_reason(error, folder)}") from error
    try:
        with Lease(folder, take_over) as lease:
            yield lease
    except FolderTaken as error:
        raise FolderTaken(taken_by(place, error.owner), error.owner) from error
    except UserError:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
            remove_empty(new[1:])
        raise
