"""A run that loses its cluster, or that a signal ends, before its first step: one line, and nothing is left of it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress

import psutil
import pytest

from tests.support.short_run import SHORT, SMOKE, wait_until

MARK = "TEST_OF_EARLY_ENDS"  # in the environment of all processes of a command


class Command:
    def __init__(self, log, *arguments):
        self.mark, self.log = uuid.uuid4().hex, log
        environment = os.environ | {MARK: self.mark, "RAY_ADDRESS": "local"}
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def processes(self):
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def reach(self, words):
        wait_until(lambda: words in self.log.read_text() or self.process.poll() is not None, 180)
        assert words in self.log.read_text(), self.log.read_text()

    def end(self):
        """Its exit code, the seconds until its end, and what it printed on standard error; nothing of it is left."""
        began = time.monotonic()
        code = self.process.wait(60)
        seconds = time.monotonic() - began
        try:
            wait_until(lambda: not self.processes(), 10)
        except AssertionError:
            assert not [process.cmdline() or process.name() for process in self.processes()]
        output = self.log.read_text()
        assert "Traceback" not in output and "Stack trace" not in output
        return code, seconds, [line for line in output.splitlines() if not line.startswith("[")]


@pytest.mark.slow
def test_a_run_without_its_cluster_and_one_without_time(tmp_path):
    run = tmp_path / "run"
    settings = [part for setting in (f"root={tmp_path}", *SHORT) for part in ("--set", setting)]
    command = Command(tmp_path / "train.log", "train", SMOKE, "--name", "run", *settings)
    command.reach("learner workers")
    (raylet,) = [process for process in command.processes() if process.name() == "raylet"]
    raylet.kill()
    code, seconds, lines = command.end()
    assert code == 1 and seconds < 20
    (line,) = lines
    assert line.startswith("curlvpr: this command's own Ray cluster, ") and f"curlvpr resume {run}" in line
    assert f"is gone: its raylet, process {raylet.pid}, has ended" in line

    command = Command(tmp_path / "resume.log", "resume", run)
    command.reach("learner workers")
    command.process.send_signal(signal.SIGTERM)
    code, seconds, lines = command.end()
    assert code == 128 + signal.SIGTERM and seconds < 20
    assert lines == [f"curlvpr: interrupted by SIGTERM; go on with: curlvpr resume {run}"]
