"""Who commits to an object store (`checkpoint.storage`): at most one process, on all machines.

Object stores have no locks, and not all of them can create an object only if it is not there. So each process that
wants the place writes a claim, an object of a name of its own, and then lists all claims. Of two that do so at once at
least one sees the other, since a store lists an object as soon as it is written; and whoever sees a claim of a process
that may be alive takes its own back. So never do both go on. If both took theirs back, they try again after a random
wait.

The owner writes its claim again every few seconds, which shows that it is alive. Who finds its claim removed, or finds
another owner after writing it, has lost the place.
"""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType

from actors.runtime.storage import Storage
from cluster.errors import UserError, error_line
from cluster.record.lease import BEAT_S, SILENT_S, TAKE_OVER_S, FolderTaken, LeaseLost, Owner

FOLDER = "owners"
TRIES = 8  # when several want the place at the same moment
WAIT_S = (0.2, 1.5)  # between two tries


@dataclass(frozen=True)
class Claim:
    """What another process wrote.

    Attributes:
        owner: that process; None if the claim cannot be read.
        holds: it has the place, and does not only want it.
        silent_s: how long before this process's own claim it was written, by the clock of the store.
    """

    name: str
    owner: Owner | None
    holds: bool
    silent_s: float

    def may_be_alive(self, limit_s: float) -> bool:
        """Whether the process runs; or, if that cannot be seen from here, whether it wrote within `limit_s`."""
        if self.owner is not None and self.owner.is_here:
            return self.owner.is_running
        return self.silent_s < limit_s


class StoreLease:
    """A place that this process owns for the duration of the context.

    Args:
        place: where the run keeps its commits.
        take_over: take it from an owner on another machine that has missed three signs of life.

    Raises:
        FolderTaken: another process owns it.
        UserError: the place cannot be reached or written.
    """

    def __init__(self, place: Storage, take_over: bool = False) -> None:
        self.place, self.claims = place, place.child(FOLDER)
        self.limit_s = TAKE_OVER_S if take_over else SILENT_S
        self.owner = Owner.of_this_process()
        self.name = f"{self.owner.lease}.json"
        self._lost = False
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._beat_until_end, name="store lease", daemon=True)

    def __enter__(self) -> StoreLease:
        try:
            self._claim()
        except OSError as error:
            self._take_back()
            raise UserError(f"checkpoint.storage: {self.place}: cannot be used ({error_line(error)})") from error
        except BaseException:
            self._take_back()
            raise
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beat.join(BEAT_S)
        self._take_back()

    def check(self) -> None:
        """Raises LeaseLost: another process was seen to have the place. Asks nobody."""
        if self._lost:
            raise LeaseLost(f"{self.place} was taken over by another process; this process commits nothing more")

    def confirm(self) -> None:
        """Asks the store whether this process still owns the place, and gives a sign of life there.

        Raises:
            LeaseLost: another process has it.
            OSError: the store cannot be reached.
        """
        if self.name not in self.claims.written_at():
            self._lost = True
        self.check()
        self._write(holds=True)
        if any(claim.holds for claim in self._others()):  # the claim was removed just before it was written again
            self._lost = True
            self.claims.delete(self.name)
        self.check()

    def _claim(self) -> None:
        """Writes a claim, and stays if there is no other of a process that may be alive."""
        for _ in range(TRIES):
            self._write(holds=False)
            others = self._others()
            alive = [claim for claim in others if claim.may_be_alive(self.limit_s)]
            if not others:
                return self._write(holds=True)
            if alive:
                self.claims.delete(self.name)
            if any(claim.holds for claim in alive):
                break
            if not alive:
                self._remove(others)
            else:
                time.sleep(random.uniform(*WAIT_S))
        claim = max(alive, key=lambda claim: claim.holds, default=None)  # who has the place, not who also wants it
        owner = claim.owner if claim else None
        raise FolderTaken(taken_by(self.place, owner), owner)

    def _take_back(self) -> None:
        with suppress(OSError):  # out of reach: its silence will tell the others
            self.claims.delete(self.name)

    def _remove(self, dead: list[Claim]) -> None:
        """Removes claims of processes that are gone. One on another machine may only have been held up; it gets the
        time of a sign of life to show that."""
        for claim in dead:
            self.claims.delete(claim.name)
        if any(claim.owner is None or not claim.owner.is_here for claim in dead):
            time.sleep(BEAT_S)

    def _others(self) -> list[Claim]:
        written = self.claims.written_at()
        now = written.pop(self.name, time.time())
        claims = (self._read(name, now - at) for name, at in written.items())
        return [claim for claim in claims if claim is not None]

    def _read(self, name: str, silent_s: float) -> Claim | None:
        """A claim; None if it has just been taken back."""
        try:
            kept = json.loads(self.claims.read(name))
            return Claim(name, Owner(**kept["owner"]), kept["holds"], silent_s)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            return Claim(name, None, False, silent_s)

    def _write(self, holds: bool) -> None:
        self.claims.write(self.name, json.dumps({"owner": asdict(self.owner), "holds": holds}).encode())

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self.confirm()
            except LeaseLost:
                return
            except OSError:  # out of reach; the next commit will say so if that lasts
                continue


def taken_by(place: Storage, owner: Owner | None) -> str:
    """Why a run cannot commit to a place that another one owns, in one line."""
    advice = "stop that run, or give this one another --name or checkpoint.storage"
    if owner is None or not owner.is_here:
        advice += f"; if that machine is gone, wait {SILENT_S:g} s"
    return f"checkpoint.storage: {place} belongs to a run in progress, in {owner or 'another process'}; {advice}"
