"""A run whose own process is killed at ten random moments, and resumed each time.

    python -m bench.driver_kill OUT [--kills 10] [--seed 0] [--json]

`recipes/smoke.yaml` once without kills, and once with: SIGKILL at a random time after the first step, every third time
inside a commit (while a folder of a commit has no manifest yet). Then `curlvpr resume`. About 20 minutes on two cores.

OUT keeps both run folders and kills.jsonl: where each sitting began, how far it came, whether the kill struck inside
a commit, and the newest commit then. The last line is one JSON object; `resumed_from_the_last_commit` counts the
kills after which the run went on from there, `same_weights` is whether both runs end with the same weights, bit for
bit.
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


class Sitting:
    """One process of the run, and what it says, read by a thread so that a kill waits for no line."""

    def __init__(self, *arguments: object) -> None:
        self.began = time.time()
        self.process = curlvpr(*arguments)
        self.lines: list[str] = []
        self.steps, self.resumed_at = 0, None
        self.stepped = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if found := re.search(r"resumed at step (\d+)", line):
                self.resumed_at = int(found[1])
            if STEP.search(line):
                self.steps += 1
                self.stepped.set()
        self.stepped.set()  # it ended

    def wait(self) -> None:
        """Until it comes to its end. Exits where that is no good one."""
        self.process.wait()
        self.reader.join()
        if self.process.returncode:
            raise SystemExit("\n".join(self.lines[-5:]))


def in_commit(run: Path, sitting: Sitting) -> bool:
    """Whether the sitting has begun a commit that is not whole yet."""
    try:
        return any(
            folder.stat().st_mtime > sitting.began and not (folder / "manifest.json").exists()
            for folder in (run / "checkpoints").glob("step-*")
        )
    except FileNotFoundError:  # an old commit went meanwhile
        return False


def committed(run: Path) -> int:
    """The step of the newest commit; 0 where there is none."""
    return max(
        (int(path.parent.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*/manifest.json")),
        default=0,
    )


def kill(sitting: Sitting, run: Path, inside_commit: bool, rng: random.Random) -> dict[str, Any] | None:
    """Kills a sitting; what it was at. None where it came to its end before."""
    sitting.stepped.wait()
    time.sleep(rng.uniform(0.2, 10))
    if inside_commit:
        until = time.monotonic() + 30
        while not in_commit(run, sitting) and sitting.process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
    hit = in_commit(run, sitting)
    if sitting.process.poll() is not None:
        return None
    os.killpg(sitting.process.pid, signal.SIGKILL)
    sitting.process.wait()
    sitting.reader.join()
    return {
        "resumed_at": sitting.resumed_at,
        "steps_since": sitting.steps,
        "inside_commit": hit,
        "committed": committed(run),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="nothing else is printed in any case")
    given = parser.parse_args()
    out, rng = given.out.absolute(), random.Random(given.seed)
    out.mkdir(parents=True, exist_ok=True)
    settings = [part for setting in (f"root={out}", *SETTINGS) for part in ("--set", setting)]
    plain, killed = out / "plain", out / "killed"
    if not (plain / "model").exists():
        Sitting("train", "recipes/smoke.yaml", "--name", "plain", *settings).wait()
    kills: list[dict[str, Any]] = []
    resumed: list[int | None] = []
    sitting = Sitting("train", "recipes/smoke.yaml", "--name", "killed", *settings)
    with open(out / "kills.jsonl", "w", encoding="utf-8") as file:
        while len(kills) < given.kills and (struck := kill(sitting, killed, len(kills) % 3 == 2, rng)):
            kills.append(struck)
            file.write(json.dumps(struck) + "\n")
            file.flush()
            sitting = Sitting("resume", killed)
            sitting.stepped.wait()
            resumed.append(sitting.resumed_at)
    sitting.wait()
    a, b = (load_file(run / "model" / "model.safetensors") for run in (plain, killed))
    trained = [event["group"] for event in committed_events(killed / "ledger.jsonl") if event["event"] == "trained"]
    print(
        json.dumps(
            {
                "kills": len(kills),
                "inside_commit": sum(kill["inside_commit"] for kill in kills),
                "resumed_from_the_last_commit": sum(
                    at == struck["committed"] for at, struck in zip(resumed, kills, strict=True)
                ),
                "trained_twice": len(trained) - len(set(trained)),
                "same_ledger": committed_events(killed / "ledger.jsonl") == committed_events(plain / "ledger.jsonl"),
                "same_weights": a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a),
            }
        )
    )


if __name__ == "__main__":
    main()
