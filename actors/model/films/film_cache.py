"""Films as the model reads them, kept on disk for all workers of a node: each is decoded and scaled there once.

The files are in a folder of the machine's temporary one, of one user, and last no longer than the processes that use
it: each of them holds a lock on the folder, the first to come removes what was left, the last to leave removes all. The
system gives a lock back however its process ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

LOCKS = 64  # so many films can be decoded at the same time on a node
_CHECKS = 32  # times that the folder is measured while its limit is written once


class FilmCache:
    """A folder of films. What cannot be written is not kept, and what cannot be read is decoded again.

    Args:
        folder: made if it is not there.
        limit: of all files, in bytes; the film that was used longest ago goes first. Never more than a quarter of what
            the disk has free.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._since_check = 0
        self._users: int | None = None
        self.limit = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(folder)
            if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):  # others may write to the same place
                return
            self._users = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
            if _locked(self._users, fcntl.LOCK_EX):  # nobody else is here
                self._clear()
            fcntl.flock(self._users, fcntl.LOCK_SH)
            self.limit = min(limit, shutil.disk_usage(folder).free // 4)
        except OSError:
            self.close()

    def get(self, key: str, make: Callable[[], Image.Image]) -> Image.Image:
        """The RGB film of a key, from its file or else made. Of several who want the same one, one makes it.

        Raises:
            ImageError: as `make`.
        """
        if not self.limit:
            return make()
        digest = hashlib.blake2b(os.fsencode(key), digest_size=20)
        path = self.folder / f"{digest.hexdigest()}.npy"
        film = _read(path)
        if film is None:
            with self._making(path):
                film = _read(path)  # another one may have made it meanwhile
                if film is None:
                    film = make()
                    self._write(path, film)
        return film

    def close(self) -> None:
        """Leaves the folder, and removes all films if nobody else is there."""
        self.limit = 0
        if self._users is None:
            return
        with suppress(OSError):
            if _locked(self._users, fcntl.LOCK_EX):
                self._clear()
        os.close(self._users)
        self._users = None

    def _clear(self) -> None:
        for pattern in ("*.npy", "partial-*", "lock-*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    @contextmanager
    def _making(self, path: Path) -> Iterator[None]:
        """Only one thread of all processes makes the film of a path. The lock's file is shared with other films."""
        try:
            file = os.open(self.folder / f"lock-{int(path.name[:8], 16) % LOCKS}", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _write(self, path: Path, film: Image.Image) -> None:
        pixels = np.asarray(film)
        if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
            pixels = pixels[..., 0]
        partial = path.with_name(f"partial-{os.getpid()}-{threading.get_ident()}")
        try:
            with open(partial, "wb") as file:
                np.save(file, pixels)
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        self._since_check += pixels.nbytes
        if self._since_check >= self.limit / _CHECKS:
            self._since_check = 0
            self._make_room()

    def _make_room(self) -> None:
        """Removes films, and what killed writers left, until all files are under the limit."""
        found = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        excess = sum(size for _, size, _ in found) - self.limit
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            if size:  # locks are empty
                excess -= size
                with suppress(OSError):
                    os.unlink(path)


def node_cache(limit: int) -> FilmCache:
    """The cache of this user's workers on this node."""
    return FilmCache(Path(tempfile.gettempdir(), f"curlvpr-films-{os.getuid()}"), limit)


def _read(path: Path) -> Image.Image | None:
    try:
        film = Image.fromarray(np.load(path)).convert("RGB")
        os.utime(path)  # used just now
    except (OSError, ValueError, EOFError):
        return None
    return film


def _locked(file: int, kind: int) -> bool:
    """Whether a lock could be had at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
