"""Notices within a second that the Ray cluster under a command goes away, and names it.

Ray itself prints pages of its log after a quarter of a minute and ends the process, or crashes.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import psutil

POLL_S = 0.5
CALL_S = 5.0  # between two calls to the head
RAY_GIVES_UP = "RAY_gcs_rpc_server_reconnect_timeout_s"  # a head that can be restarted gets longer by it
RAY_GIVES_UP_S = 60.0  # after which Ray ends a process, with a trace
BEFORE_S = 35.0  # so much earlier a head that does not answer is given up here


class ClusterWatch:
    """Calls `lost` with a line, once, if a cluster goes away while the context lasts.

    Args:
        address: of the cluster's head.
        processes: those of Ray on this machine that the command needs, by what they are called.
        whose: "this run's own", or what else the line calls the cluster.
        lost: is called in a thread of the watch.
    """

    def __init__(
        self, address: str, processes: dict[str, psutil.Process], whose: str, lost: Callable[[str], None]
    ) -> None:
        self.address, self.processes, self.whose, self.lost = address, processes, whose, lost
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cluster-watch", daemon=True)

    def __enter__(self) -> ClusterWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(CALL_S)

    def ended_process(self) -> str:
        """Which process of Ray on this machine has ended, in words; "" if none has."""
        for name, process in self.processes.items():
            if not _runs(process):
                return (
                    f"{self.whose} Ray cluster, {self.address}, is gone: its {name}, process {process.pid}, has ended"
                )
        return ""

    def _watch(self) -> None:
        answered = called = time.monotonic()
        limit_s = float(os.environ.get(RAY_GIVES_UP, RAY_GIVES_UP_S)) - BEFORE_S
        while not self._ended.wait(POLL_S):
            if why := self.ended_process():
                self._lose(why)
                return
            if time.monotonic() - called < CALL_S:
                continue
            called = time.monotonic()
            if self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > limit_s:
                silent = f"its head has not answered for {limit_s:g} s"
                self._lose(f"{self.whose} Ray cluster, {self.address}, is gone: {silent}")
                return

    def _lose(self, why: str) -> None:
        if not self._ended.is_set():
            self.lost(why)

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CALL_S).close()
        except OSError:
            return False
        return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
