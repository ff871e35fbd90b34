"""A run whose own process is killed at ten random moments, and resumed each time.

    python -m bench.driver_kill OUT [--kills 10] [--seed 0] [--json]

`recipes/smoke.yaml` once without kills, and once with: SIGKILL after a random time since its workers stood, every third time
inside a commit (while a folder of a commit has no manifest yet). Then `curlvpr resume`. About 20 minutes on two cores.

OUT keeps both run folders and kills.jsonl: at which step each kill struck, and at which the run went on. The last line is one
JSON object; `same_weights` is whether both runs end with the same weights, bit for bit.
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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from cluster.ledger import committed_events

SETTINGS = ["checkpoint.every_minutes=0.05", "checkpoint.keep=3"]
STEP = re.compile(r"\] (?:sft|closed|open) +\d+/\d+ ")


def curlvpr(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "cluster.cli", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    for line in process.stdout:
        yield line.rstrip()


def in_commit(run: Path) -> bool:
    return any(not (folder / "manifest.json").exists() for folder in (run / "checkpoints").glob("step-*"))


def kill_once(process: subprocess.Popen[str], run: Path, inside_commit: bool, rng: random.Random) -> dict[str, Any] | None:
    """Kills the run; what it was at. None where it came to its end before."""
    steps, resumed, first = 0, None, None
    wait_s = rng.uniform(0.5, 12)
    for line in lines(process):
        if found := re.search(r"resumed at step (\d+)", line):
            resumed = int(found[1])
        if STEP.search(line):
            steps += 1
            first = first or time.monotonic()
        if first and time.monotonic() - first > wait_s:
            break
    if inside_commit:
        until = time.monotonic() + 30
        while not in_commit(run) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
    hit = in_commit(run)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return {"resumed_at": resumed, "steps_since": steps, "inside_commit": hit}


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
        for _ in lines(process := curlvpr("train", "recipes/smoke.yaml", "--name", "plain", *settings)):
            pass
        if process.wait():
            raise SystemExit("the run without kills failed")
    kills: list[dict[str, Any]] = []
    process = curlvpr("train", "recipes/smoke.yaml", "--name", "killed", *settings)
    with open(out / "kills.jsonl", "w", encoding="utf-8") as file:
        while len(kills) < given.kills and (kill := kill_once(process, killed, len(kills) % 3 == 2, rng)):
            kills.append(kill)
            file.write(json.dumps(kill) + "\n")
            file.flush()
            process = curlvpr("resume", killed)
    last = list(lines(process))
    code = process.wait()
    if code:
        raise SystemExit("\n".join(last[-5:]))
    a, b = (load_file(run / "model" / "model.safetensors") for run in (plain, killed))
    trained = [event["group"] for event in committed_events(killed / "ledger.jsonl") if event["event"] == "trained"]
    print(json.dumps({
        "kills": len(kills), "inside_commit": sum(kill["inside_commit"] for kill in kills),
        "resumed_every_time": code == 0, "trained_twice": len(trained) - len(set(trained)),
        "same_ledger": committed_events(killed / "ledger.jsonl") == committed_events(plain / "ledger.jsonl"),
        "same_weights": a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)}))


if __name__ == "__main__":
    main()
