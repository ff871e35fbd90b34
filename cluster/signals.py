"""The signals that end a command: in order if that takes a few seconds, else at once.

Python calls a signal's handler in the main thread, and only between two of its own instructions, so one that falls into
a library's long call, or into its callback, comes late or is dropped. Here a thread reads every signal as it comes and
decides. It wakes the main thread by a signal that nobody else uses, and again if that came right before a sleep, where
Python misses it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
ORDERLY_S = 8.0  # for an end in order; then the process is ended at once
_WAKE_AGAIN_S = 0.2
SHOW_CURSOR = "\x1b[?25h"  # a live display hides it
_WAKE = signal.SIGURG  # ignored by default, so that a late one does no harm


class Signals:
    """Signals that end what this process does, as long as the context lasts. The main thread enters it.

    The first raises KeyboardInterrupt in the main thread. A second one ends the process at once, and so does the time
    limit for an end in order. A signal that the process was started to ignore, as by nohup, stays ignored.

    Args:
        numbers: of the signals.
        owns_process: the process may be ended. Otherwise, as in a notebook, every signal raises KeyboardInterrupt.

    Attributes:
        number: the signal that ends the process; None if none did.
        why: what else ends it, from `lose`.
        told: the user has been told of its end.
        stop_gently: what SIGTERM does instead, once: a run finishes its step. Called in another thread.
        owns_cluster: the process has a Ray cluster of its own, which it ends in any case.
        before_exit: is called before the process is ended, in any thread; must be quick.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = ENDING, owns_process: bool = True) -> None:
        self.numbers, self.owns_process = numbers, owns_process
        self.number: signal.Signals | None = None
        self.why = ""
        self.told = False
        self.stop_gently: Callable[[], None] | None = None
        self.before_exit: Callable[[], None] = lambda: None
        self.owns_cluster = False
        self._stopping = False  # gently
        self._deadline: float | None = None
        self._is_awaited = False  # the main thread, which is to be interrupted
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)

    def __enter__(self) -> Signals:
        global _current
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._previous_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        numbers = [number for number in self.numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._handlers = {number: signal.signal(number, _noted) for number in numbers}
        self._handlers[_WAKE] = signal.signal(_WAKE, self._wake)
        self._previous, _current = _current, self
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        global _current
        _current = self._previous
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._write)
        self._thread.join(1)
        os.close(self._read)

    @property
    def ending(self) -> bool:
        return self.number is not None or bool(self.why)

    @property
    def code(self) -> int:
        """The exit code of a process that was ended: 128 and the signal's number, or 1."""
        return 1 if self.number is None else 128 + self.number

    @property
    def cause(self) -> str:
        """What ends the process, in a word or a line."""
        return self.why or ("" if self.number is None else self.number.name)

    def renew(self) -> None:
        """Takes the signals again after a library took them, in Python or below it: Ray's prints a trace first."""
        for number in self._handlers:
            signal.signal(number, self._wake if number is _WAKE else _noted)

    def check(self) -> None:
        """Raises KeyboardInterrupt if the process is to end: a library may have swallowed the first one."""
        if self.ending:
            raise KeyboardInterrupt

    def lose(self, why: str) -> None:
        """Ends what the process does because it cannot go on. Any thread may call it.

        After a SIGTERM that is the cause: whoever stops a service sends it to all processes of its group.
        """
        if self.ending:
            return
        if self._stopping:
            self.number = signal.SIGTERM
        else:
            self.why = why
        self._interrupt()

    def exit(self, code: int) -> NoReturn:
        """Ends the process without what libraries do at an exit: that may wait, or crash, for what is gone."""
        with suppress(Exception):
            self.before_exit()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    def end_now(self, why: str) -> NoReturn:
        """Ends the process at once, with a line."""
        cursor = SHOW_CURSOR if sys.stdout.isatty() else ""
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"{cursor}curlvpr: {self.cause}: {why}\n".encode())
        with suppress(Exception):
            self.before_exit()
        os._exit(self.code)

    # -- in the thread --------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            if not select.select([self._read], [], [], self._patience())[0]:
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    self.end_now(f"ended at once, as an end in order took more than {ORDERLY_S:g} s")
                self._wake_main()
                continue
            received = os.read(self._read, 64)
            if not received:
                return
            for number in received:
                if number in self.numbers:
                    self._received(signal.Signals(number))

    def _patience(self) -> float | None:
        """Seconds until something is to be done although no signal comes; None if nothing is."""
        limits = [] if self._deadline is None else [max(0.0, self._deadline - time.monotonic())]
        if self._is_awaited:
            limits.append(_WAKE_AGAIN_S)
        return min(limits, default=None)

    def _received(self, number: signal.Signals) -> None:
        if self.ending and self.owns_process:
            self.end_now("ended at once")
        if number is signal.SIGTERM and self.stop_gently is not None and not self._stopping:
            self._stopping = True
            with suppress(Exception):  # it shows a line, perhaps in a terminal that is gone
                self.stop_gently()
            return
        self.number = number
        self._interrupt()

    def _interrupt(self) -> None:
        if self.owns_process:
            self._deadline = time.monotonic() + ORDERLY_S
        self._is_awaited = True
        self._wake_main()

    def _wake_main(self) -> None:
        if self._is_awaited and self._main is not None:
            signal.pthread_kill(self._main, _WAKE)

    # -- in the main thread ---------------------------------------------------------------------------------------

    def _wake(self, *_: object) -> None:
        if self._is_awaited:
            self._is_awaited = False
            self.check()


_current: Signals | None = None


def current() -> Signals | None:
    """The signals that this process heeds; None if it leaves them to others."""
    return _current


def is_ending() -> bool:
    """Whether this process is about to end, or its cluster has: what ends with them need not be ended one by one."""
    if _current is None or not _current.ending:
        return False
    return _current.owns_process or _current.owns_cluster or bool(_current.why)


def heed() -> Signals | None:
    """New signals for a run in a program of somebody else's; None if it is not in the main thread, or they are taken.

    A program that reads signals itself, such as a notebook, goes on doing so.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return None if fd != -1 else Signals((signal.SIGINT, signal.SIGTERM), owns_process=False)


def _noted(number: int, frame: FrameType | None) -> None:
    """A handler, so that Python writes the signal's number to the pipe."""


class _Fork(threading.local):
    """Around a fork: a signal to the new process is none to its parent, whose pipe it shares until it lets go of it."""

    mask: set[int] | None = None

    def before(self) -> None:
        if _current is not None:
            self.mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _current.numbers))

    def in_parent(self) -> None:
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
            self.mask = None

    def in_child(self) -> None:
        if _current is not None:
            signal.set_wakeup_fd(-1)
            for number in _current.numbers:
                if signal.getsignal(number) is _noted:
                    signal.signal(number, signal.SIG_DFL)
        self.in_parent()


_fork = _Fork()
os.register_at_fork(before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child)
