"""The peer of a comparison: a process that reads lines and answers with lines of JSON."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIMIT_S = 300.0  # for its start, and for each answer


class PeerProcess:
    """A context manager, which is entered once the process has reported that it is up.

    Args:
        who: its name in errors, such as "TRL's process".
        command: run in the checkout; prints a JSON object once it is up.
        env: its environment.
        log: the file for its standard error.
    """

    def __init__(self, who: str, command: Sequence[Any], env: Mapping[str, str], log: Path) -> None:
        self.who, self.log = who, log
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            stderr=open(log, "w"),  # noqa: SIM115 - open as long as the process
            env=dict(env),
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> PeerProcess:
        try:
            self.receive("did not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listen(self) -> None:
        for line in self.process.stdout:
            if line.startswith('{"'):
                self.lines.put(line)
        self.lines.put("")

    def send(self, number: int) -> None:
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()

    def receive(self, failure: str = "did not end its turn") -> dict[str, Any]:
        """Returns its next answer. Raises RuntimeError, with the end of its log: it ended, or timed out."""
        try:
            line = self.lines.get(timeout=LIMIT_S)
        except queue.Empty:
            line, why = "", f"{failure} within {LIMIT_S:g} s"
        else:
            why = f"ended with code {self.process.wait(LIMIT_S)}" if not line else ""
        if not line:
            raise RuntimeError(f"{self.who} {why}; the end of its log:\n{self.log.read_text()[-2000:]}")
        return json.loads(line)

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
