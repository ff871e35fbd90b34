"""Each signal that ends a run, at each moment of a run: seconds to the end, exit code, and what is left.

    python -m bench.signals OUT [--moments imports,workers] [--signals SIGINT,SIGTERM]

Starts a short form of `recipes/smoke.yaml` for every cell of the table, waits for the moment, and sends the signal to
the command's process alone. One line for each cell goes to OUT/signals.jsonl: seconds until the end, the exit code,
lines of a trace, processes that were left, and whether a second look says that the run can be resumed. About a minute
a cell on two cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.kill_and_resume import BUSY, BUSY_S, BUSY_TRIES, RECIPE, Command, settings

MOMENTS = {
    "second 0.2": ("", 0.2),
    "imports": ("", 2.0),
    "starting Ray": ("run folder", 1.0),
    "preparing": ("preparing tasks", 0.5),
    "starting workers": (" learner workers", 3.0),
    "first test": (" learner workers", None),  # until a weight version is there
    "a step": ("sft    1/", 0.2),
    "commit": ("stage sft ends", 0.05),
    "export": ("stage open ends", 0.3),
    "report": ("finished in", 0.1),
}
"""After which words of the output, and how many seconds later; without seconds, at the first file of an evaluation."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
WAIT_S = 300


def reach(command: Command, run: Path, words: str, after_s: float | None) -> bool:
    """Waits for a moment. False if the command ended before."""
    until = time.monotonic() + WAIT_S
    while words and words not in "\n".join(command.lines):
        if command.process.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.05)
    if after_s is None:
        while not any((run / "learner").glob("**/*")) and "rollout-0" not in "\n".join(command.lines):
            if command.process.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.05)
        after_s = 1.0
    time.sleep(after_s)
    return command.process.poll() is None


def cell(out: Path, moment: str, name: str) -> dict[str, Any]:
    run_name = f"{moment.replace(' ', '-')}-{name}"
    run = out / run_name
    shutil.rmtree(run, ignore_errors=True)
    for _ in range(BUSY_TRIES):
        command = Command(out / f"{run_name}.log", "train", RECIPE, "--name", run_name, *settings(out))
        reached = reach(command, run, *MOMENTS[moment])
        if reached or BUSY not in "\n".join(command.lines):
            break
        time.sleep(BUSY_S)
    began = time.monotonic()
    before = len(command.lines)
    if reached:
        command.process.send_signal(getattr(signal, name))
    code = command.wait(WAIT_S)
    seconds = time.monotonic() - began
    left = command.left(2)
    row = {
        "moment": moment,
        "signal": name,
        "reached": reached,
        "seconds": round(seconds, 1),
        "code": code,
        "trace": sum("Traceback" in line or "*** SIG" in line or "Stack trace" in line for line in command.lines),
        "said": command.lines[before:][:3],
        "left": left,
        "recipe": (run / "recipe.yaml").is_file(),
        "folder": run.exists(),
        "owner": (run / "owner.json").is_file(),
    }
    shutil.rmtree(run, ignore_errors=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--moments", default=",".join(MOMENTS))
    parser.add_argument("--signals", default=",".join(SIGNALS))
    args = parser.parse_args(arguments)
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    for moment in args.moments.split(","):
        for name in args.signals.split(","):
            row = cell(out, moment, name)
            with open(out / "signals.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
