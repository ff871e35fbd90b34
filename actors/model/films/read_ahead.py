"""Encoded films in memory, read ahead in threads while the model works on others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

FILMS_BYTES = 2**30  # for a Qwen2.5-VL 3,600 films of 112 × 112 pixels, or 90 of 900 × 900


class EncodedImage(NamedTuple):
    """An image as the model's processor returns it.

    Attributes:
        pixels: arrays by the names of `ModelFamily.image_inputs`.
        text: what replaces the image's placeholder in a prompt.
    """

    pixels: dict[str, np.ndarray]
    text: str

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self.pixels.values())


class Films:
    """Films by their paths, kept up to a limit: SFT and groups see the same films again and again.

    The one that was used longest ago is dropped first, and never one that was read ahead and is not used yet.

    Args:
        read: reads and encodes a film; called in several threads at once.
        threads: how many read ahead; with 0, films are read when they are needed.
        limit: in bytes, exceeded by the film that was read last at most, or by what every thread reads.

    Attributes:
        waited_s: for how long `get` waited for films so far.
    """

    def __init__(self, read: Callable[[str], EncodedImage], threads: int = 0, limit: int = FILMS_BYTES) -> None:
        self._read, self._threads, self._limit = read, threads, limit
        self._pool = ThreadPoolExecutor(threads, "films") if threads else None
        self._lock = threading.Lock()
        self._kept: dict[str, EncodedImage] = {}  # in the order of their use
        self._bytes = 0
        self._largest = 0
        self._expected: deque[str] = deque()  # to be read ahead
        self._unused: set[str] = set()  # expected, and not got yet
        self._unused_bytes = 0  # of those that are kept
        self._reading: dict[str, Future[EncodedImage]] = {}  # or failed
        self._busy = 0  # threads
        self._texts: dict[str, str] = {}  # of all films that were ever read
        self._same_text: dict[str, str] = {}
        self.waited_s = 0.0

    def expect(self, paths: Iterable[str]) -> None:
        """Reads these films ahead, in this order and as far as there is room; what was expected before is not any
        more. One that cannot be read is an error where it is got.
        """
        if self._pool is None:
            return
        with self._lock:
            self._expected = deque(dict.fromkeys(paths))
            self._unused = set(self._expected)
            self._unused_bytes = sum(self._kept[path].bytes for path in self._unused if path in self._kept)
            self._reading = {path: future for path, future in self._reading.items() if not future.done()}
            self._start()

    def get(self, path: str) -> EncodedImage:
        """A film, from memory if possible.

        Raises:
            curriculum.images.ImageError: the file is missing or is no image.
            ValueError: the processor refuses an image of this shape.
        """
        with self._lock:
            film = self._kept.get(path)
            if film is not None:
                self._kept[path] = self._kept.pop(path)
            self._use(path, film)
            future = self._reading.get(path)
        if film is not None:
            return film
        began = time.monotonic()
        try:
            return self._take_in(path) if future is None else future.result()
        finally:
            self.waited_s += time.monotonic() - began
            with self._lock:
                self._reading.pop(path, None)  # if it failed, another try may succeed

    def text(self, path: str) -> str:
        """The text of a film, also of one that is not in memory any more. Raises as `get`."""
        return self._texts.get(path) or self.get(path).text

    def close(self) -> None:
        """Ends the threads, after the films that they are reading."""
        self.expect(())
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _take_in(self, path: str) -> EncodedImage:
        """Reads a film, and keeps it."""
        film = self._read(path)
        with self._lock:
            self._keep(path, film)
        return film

    def _take_in_ahead(self, path: str) -> EncodedImage:
        try:
            return self._take_in(path)
        finally:
            with self._lock:
                self._busy -= 1
                self._start()

    # -- inside the lock ------------------------------------------------------------------------------------------

    def _use(self, path: str, film: EncodedImage | None) -> None:
        if path in self._unused:
            self._unused.discard(path)
            self._unused_bytes -= film.bytes if film is not None else 0
            self._start()

    def _keep(self, path: str, film: EncodedImage) -> None:
        self._reading.pop(path, None)
        if path in self._kept:
            return
        self._kept[path] = film
        self._bytes += film.bytes
        self._largest = max(self._largest, film.bytes)
        self._texts[path] = self._same_text.setdefault(film.text, film.text)
        if path in self._unused:
            self._unused_bytes += film.bytes
        if self._bytes > self._limit:
            self._drop(but=path)

    def _drop(self, but: str) -> None:
        for path in list(self._kept):
            if path not in self._unused and path != but:
                self._bytes -= self._kept.pop(path).bytes
            if self._bytes <= self._limit:
                return

    def _start(self) -> None:
        """Begins to read the films that come next, as far as threads are free and there is room."""
        while self._pool is not None and self._expected and self._has_room():
            path = self._expected.popleft()
            if path in self._unused and path not in self._kept and path not in self._reading:
                self._busy += 1
                self._reading[path] = self._pool.submit(self._take_in_ahead, path)

    def _has_room(self) -> bool:
        coming = (self._busy + 1) * self._largest
        return self._busy < self._threads and self._unused_bytes + coming <= self._limit
