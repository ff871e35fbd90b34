"""A run whose own process is killed at ten random moments, and resumed each time.

    python -m bench.driver_kill OUT [--kills 10] [--seed 0] [--json]

Runs `recipes/smoke.yaml` once without kills, and once with SIGKILL at a random time after the first step, every third
time during a commit (while the commit's folder has no manifest yet). `curlvpr resume` follows each kill. About 20
minutes on two cores.

OUT keeps both run folders and kills.jsonl: for each process of the run the step at which it resumed, the number of
its steps, whether the kill struck during a commit, and the newest commit then. The last line is one JSON object:
`resumed_from_the_last_commit` counts the kills after which the run continued from that commit, `same_weights` is
whether both runs end with the same weights, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from cluster.record.ledger import committed_events

SETTINGS = ["checkpoint.every_minutes=0.05", "checkpoint.keep=3"]
STEP = re.compile(r"\] (?:sft|closed|open) +\d+/\d+ ")


def curlvpr(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


class Session:
    """One process of the run. A thread reads its output, so that a kill does not wait for a line."""

    def __init__(self, *arguments: object) -> None:
        self.start_time = time.time()
        self.process = curlvpr(*arguments)
        self.lines: list[str] = []
        self.steps, self.resumed_at = 0, None
        self.stepped = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            resumed = re.search(r"resumed at step (\d+)", line)
            if resumed:
                self.resumed_at = int(resumed[1])
            if STEP.search(line):
                self.steps += 1
                self.stepped.set()
        self.stepped.set()  # the process has ended

    def wait(self) -> None:
        """Waits until the process ends. Exits with its last lines if it failed."""
        self.process.wait()
        self.reader.join()
        if self.process.returncode:
            raise SystemExit("\n".join(self.lines[-5:]))


def in_commit(run: Path, session: Session) -> bool:
    """Whether the session has begun a commit that is not complete yet."""
    try:
        return any(
            folder.stat().st_mtime > session.start_time and not (folder / "manifest.json").exists()
            for folder in (run / "checkpoints").glob("step-*")
        )
    except FileNotFoundError:  # an old commit was removed at this moment
        return False


def committed(run: Path) -> int:
    """The step of the newest commit; 0 if there is none."""
    return max(
        (int(path.parent.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*/manifest.json")),
        default=0,
    )


def kill(session: Session, run: Path, inside_commit: bool, rng: random.Random) -> dict[str, Any] | None:
    """Kills a session and returns its row of kills.jsonl; None if the session ended before."""
    session.stepped.wait()
    time.sleep(rng.uniform(0.2, 10))
    if inside_commit:
        until = time.monotonic() + 30
        while not in_commit(run, session) and session.process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
    hit = in_commit(run, session)
    if session.process.poll() is not None:
        return None
    os.killpg(session.process.pid, signal.SIGKILL)
    session.process.wait()
    session.reader.join()
    return {
        "resumed_at": session.resumed_at,
        "steps_since": session.steps,
        "inside_commit": hit,
        "committed": committed(run),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="no effect: only JSON is printed in any case")
    args = parser.parse_args()
    out, rng = args.out.absolute(), random.Random(args.seed)
    out.mkdir(parents=True, exist_ok=True)
    settings = [part for setting in (f"root={out}", *SETTINGS) for part in ("--set", setting)]
    plain, killed = out / "plain", out / "killed"
    if not (plain / "model").exists():
        Session("train", "recipes/smoke.yaml", "--name", "plain", *settings).wait()
    kills: list[dict[str, Any]] = []
    resumed: list[int | None] = []
    session = Session("train", "recipes/smoke.yaml", "--name", "killed", *settings)
    with open(out / "kills.jsonl", "w", encoding="utf-8") as file:
        while len(kills) < args.kills:
            kill_row = kill(session, killed, len(kills) % 3 == 2, rng)
            if kill_row is None:
                break
            kills.append(kill_row)
            file.write(json.dumps(kill_row) + "\n")
            file.flush()
            session = Session("resume", killed)
            session.stepped.wait()
            resumed.append(session.resumed_at)
    session.wait()
    a, b = (load_file(run / "model" / "model.safetensors") for run in (plain, killed))
    trained = [event["group"] for event in committed_events(killed / "ledger.jsonl") if event["event"] == "trained"]
    print(
        json.dumps(
            {
                "kills": len(kills),
                "inside_commit": sum(kill["inside_commit"] for kill in kills),
                "resumed_from_the_last_commit": sum(
                    at == kill_row["committed"] for at, kill_row in zip(resumed, kills, strict=True)
                ),
                "trained_twice": len(trained) - len(set(trained)),
                "same_ledger": committed_events(killed / "ledger.jsonl") == committed_events(plain / "ledger.jsonl"),
                "same_weights": a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a),
            }
        )
    )


if __name__ == "__main__":
    main()
