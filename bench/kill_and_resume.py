"""Runs that are killed at random moments and resumed, and what is left of them.

    python -m bench.kill_and_resume OUT [--trials 30] [--seed 0] [--what group,driver,raylet]

Trains a short form of `recipes/smoke.yaml` once without kills. Each trial trains it again in a new folder. SIGKILL hits
the process group of the command, its process alone, or its raylet alone, at a random moment between its first second
and its end; `curlvpr resume` follows 0, 1, 3 or 10 s later. If there is nothing to resume, the command says so and the
trial starts anew. A moment is one of the run without kills: a run on a busier machine is killed as far on, later. A
trial takes two to three minutes on two cores.

OUT keeps the run folders and trials.jsonl, a line for each trial: what was killed and when, the exit codes, the lines
that `resume` printed first, whether the model's file has the SHA-256 of the run without kills, and processes that were
left after the first or after the last command. The last line printed is one JSON object with the counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

RECIPE = "recipes/smoke.yaml"
SETTINGS = [
    "stages.sft.gate.max_steps=8",
    "stages.sft.gate.every=8",
    "stages.closed.gate.max_steps=2",
    "stages.open.gate.max_steps=2",
    "data.phantoms.train=60",
    "data.phantoms.val=8",
    "data.phantoms.test=12",
    "model.tiny.vision_steps=0",
    "checkpoint.every_minutes=0.05",
]
BUSY = "Ray does not start on this machine"  # the machine has other work, too: no fault, and tried again
BUSY_TRIES, BUSY_S = 6, 30
MARK = "KILL_AND_RESUME"  # an environment variable that every process of a command inherits
VICTIMS = ("group", "driver", "raylet")
DELAYS_S = (0, 1, 3, 10)
END_S = 900  # a command that takes longer hangs
GONE_S = 10  # after which a process counts as left over


class Command:
    """A command of curlvpr whose processes can all be found, whatever their parents and titles are by now."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.mark, self.log = uuid.uuid4().hex, log
        with open(log, "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {MARK: self.mark},
            )

    def wait(self, timeout_s: float = END_S) -> int | str:
        """Its exit code; "hangs" if it does not end."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return "hangs"

    @property
    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def processes(self) -> list[psutil.Process]:
        """All its processes that are alive."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def left(self, within_s: float = GONE_S) -> list[str]:
        """What of it is still alive after a while."""
        until = time.monotonic() + within_s
        while (found := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        return [title(process) for process in found]


def title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline()).strip()[:80]}"
    return str(process.pid)


def until_ray_starts(log: Path, *arguments: object) -> tuple[Command, int | str, int]:
    """A command, its exit code, and how often it was tried before in vain since the machine was too busy for Ray."""
    tries = 0
    while True:
        command = Command(log, *arguments)
        code = command.wait()
        if BUSY not in "\n".join(command.lines) or tries == BUSY_TRIES:
            return command, code, tries
        tries += 1
        time.sleep(BUSY_S)


def raylet_of(command: Command) -> psutil.Process | None:
    return next((p for p in command.processes() if p.name() == "raylet"), None)


def kill(command: Command, victim: str) -> bool:
    """Kills what is asked for. False if that is not there: the command has ended, or has no raylet yet."""
    if command.process.poll() is not None:
        return False
    if victim == "raylet":
        raylet = raylet_of(command)
        if raylet is None:
            return False
        raylet.kill()
    elif victim == "driver":
        command.process.kill()
    else:
        os.killpg(command.process.pid, signal.SIGKILL)
    return True


def weights(run: Path) -> str:
    """The SHA-256 of the model's weights; "" if there is no model."""
    file = run / "model" / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def settings(out: Path) -> list[str]:
    return [part for setting in (f"root={out}", *SETTINGS) for part in ("--set", setting)]


def plain_run(out: Path) -> tuple[str, list[float]]:
    """The weights of the run without kills, and after how many seconds it printed each line."""
    run, note = out / "plain", out / "plain.json"
    if not note.is_file():
        shutil.rmtree(run, ignore_errors=True)
        began = time.monotonic()
        command = Command(out / "plain.log", "train", RECIPE, "--name", "plain", *settings(out))
        times: list[float] = []
        while command.process.poll() is None:
            times += [time.monotonic() - began] * (len(command.lines) - len(times))
            time.sleep(0.1)
        if code := command.wait():
            raise SystemExit(f"the run without kills ended with {code}:\n" + "\n".join(command.lines[-5:]))
        note.write_text(json.dumps({"weights": weights(run), "times": times}))
    kept = json.loads(note.read_text())
    return kept["weights"], kept["times"]


def wait_until(command: Command, at_s: float, times: Sequence[float]) -> None:
    """Waits until a run is as far on as the one without kills was after `at_s`, or has ended."""
    lines = sum(printed <= at_s for printed in times)
    while len(command.lines) < lines and command.process.poll() is None:
        time.sleep(0.05)
    time.sleep(at_s - times[lines - 1] if lines else at_s)


def trial(
    out: Path, number: int, victim: str, at_s: float, delay_s: float, expected: str, times: Sequence[float]
) -> dict[str, Any]:
    """One run that is killed and resumed."""
    name = f"{number:03d}-{victim}"
    run = out / name
    shutil.rmtree(run, ignore_errors=True)
    first = Command(out / f"{name}-train.log", "train", RECIPE, "--name", name, *settings(out))
    wait_until(first, at_s, times)
    hit = kill(first, victim)
    began = time.monotonic()
    first_code = first.wait(120)
    row: dict[str, Any] = {
        "trial": number,
        "victim": victim,
        "at_s": round(at_s, 1),
        "hit": hit,
        "code": first_code,
        "ended_after_s": round(time.monotonic() - began, 1),
        "last_line": (first.lines or [""])[-1],
        "delay_s": delay_s,
    }
    time.sleep(delay_s)
    began = time.monotonic()
    second, row["resume_code"], row["too_busy"] = until_ray_starts(out / f"{name}-resume.log", "resume", run)
    row["resumed"] = [line for line in second.lines if "resume" in line or "ended" in line or "curlvpr:" in line][:4]
    row["trace"] = any("Traceback" in line or "*** SIG" in line for line in [*first.lines, *second.lines])
    complete = "this run is complete" in "\n".join(second.lines)
    if row["resume_code"] == 2 and not complete and not (run / "recipe.yaml").is_file():
        row["anew"] = True
        shutil.rmtree(run, ignore_errors=True)
        log = out / f"{name}-anew.log"
        second, row["resume_code"], _ = until_ray_starts(log, "train", RECIPE, "--name", name, *settings(out))
    row["seconds"] = round(time.monotonic() - began, 1)
    row["same_weights"] = weights(run) == expected
    row["left"] = first.left(0) + second.left()
    row["good"] = row["same_weights"] and not row["left"] and not row["trace"] and (complete or not row["resume_code"])
    if row["good"]:
        shutil.rmtree(run, ignore_errors=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", default=",".join(VICTIMS), help="what is killed, in turn")
    args = parser.parse_args(arguments)
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    expected, times = plain_run(out)
    victims = args.what.split(",")
    rows = []
    for number in range(args.first, args.first + args.trials):
        rng = random.Random(f"{args.seed}/{number}")
        at_s, delay_s = rng.uniform(1, times[-1]), rng.choice(DELAYS_S)
        row = trial(out, number, victims[number % len(victims)], at_s, delay_s, expected, times)
        rows.append(row)
        with open(out / "trials.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    count = {victim: sum(row["victim"] == victim for row in rows) for victim in victims}
    print(
        json.dumps(
            {
                "trials": count,
                "hit": sum(row["hit"] for row in rows),
                "started_anew": sum(row.get("anew", False) for row in rows),
                "same_weights": sum(row["same_weights"] for row in rows),
                "with_a_trace": sum(row["trace"] for row in rows),
                "with_processes_left": sum(bool(row["left"]) for row in rows),
                "good": sum(row["good"] for row in rows),
            }
        )
    )


if __name__ == "__main__":
    main()
