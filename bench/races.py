"""Commands that want one run folder at the same moment: exactly one may go on, and the others say who has it.

    python -m bench.races OUT [--races 50] [--clusters 1] [--submits 3]

Starts one or two Ray clusters on this machine. In every second race the folder is new, and `curlvpr train --name` is
started four times; in the others a run has died in it, and `curlvpr resume` is started three times, and `train` once. A
command is a process of its own that has imported everything, so that all begin within milliseconds; with two clusters
they join them in turn. On a second cluster a process claims to be on another machine, and file locks are off, as on a
shared file system that has none. Beside them, what `curlvpr serve` reads of the folder is read. When all others have
ended, the one that went on is killed. The last `--submits` races with a new folder also hand it to `curlvpr submit`,
whose job comes too late.

OUT keeps what each command printed. The last line is one JSON object: `one_went_on` counts races with exactly one
process that went on; `named` counts refusals that name the owner, `refused` all of them; `faults` lists what was
neither, `changed` files of a dead run that were changed, by anyone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

RECIPE = "recipes/smoke.yaml"
LIMIT_S = 240.0  # for the commands of a race
KEPT = ("summary.json", "model/config.json", "checkpoints/step-0000001/manifest.json")
REFUSALS = ("exists already", "is in use", "already in progress", "a job of this cluster trains")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster of one node."""

    number: int
    folder: Path

    @property
    def ports(self) -> dict[str, int]:
        base = 23000 + 1000 * self.number
        names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
        more = ("metrics-export-port", "runtime-env-agent-port", "dashboard-agent-grpc-port", "node-manager-port")
        return {name: base + place for place, name in enumerate((*names, *more))}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RAY_ADDRESS": f"127.0.0.1:{self.ports['port']}",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.ports['dashboard-port']}",
        }

    def start(self) -> None:
        base = 23100 + 1000 * self.number
        ports = [f"--{name}={port}" for name, port in self.ports.items()]
        workers = [f"--min-worker-port={base}", f"--max-worker-port={base + 800}"]
        command = [Path(sys.executable).with_name("ray"), "start", "--head", "--num-cpus=4", *ports, *workers]
        options = [f"--temp-dir={self.folder}"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ends the processes of this cluster alone: those that know its folder."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words = (entry / "cmdline").read_bytes()
                    if str(self.folder).encode() in words:
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    continue


def contend(arguments: Sequence[str], environment: dict[str, str], machine: int, go: Any, output: Path) -> None:
    """Runs a command of `curlvpr` once `go` is set; what it prints goes to a file."""
    from cluster.cli.app import main
    from cluster.record import lease

    os.setsid()
    os.environ.update(environment)
    if machine:
        here, identity = lease._machine(), f"another-{machine}"
        lease._machine = lambda: f"{identity}/{here}"
        lease._try_lock = lambda file: True
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["curlvpr", *arguments]
    go.wait()
    main()


def look(root: Path, run: str, go: Any, output: Path) -> None:
    """What `curlvpr serve --policy` reads of the run."""
    from cluster.service.chat_policy import find_source

    go.wait()
    time.sleep(0.2)
    try:
        text = find_source(root, run).remarks[-1]
    except Exception as error:  # noqa: BLE001 - a race counts it
        text = f"{type(error).__name__}: {error}"
    output.write_text(text)


def dead_run(root: Path, name: str) -> dict[str, str]:
    """A run folder whose process has died. Returns the hash of each file that must stay as it is."""
    from cluster.config.recipe_file import load_recipe
    from cluster.record.run_writer import RunWriter

    folder = root / name
    RunWriter(folder).write_recipe(load_recipe(Path(RECIPE), [f"root={root}"]))
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    for file in KEPT:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps({"status": "running", "of": name, "state": {}, "sha256": {}}))
    owner = {"process": 2**22 + 1, "started_at": 1.0, "host": "gone", "machine": "gone/1/1", "lease": "gone"}
    (folder / "owner.json").write_text(json.dumps(owner))
    os.utime(folder / "owner.json", (1, 1))
    return hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in KEPT if (folder / name).exists()}


def race(context: Any, out: Path, number: int, clusters: Sequence[Cluster], submit: bool) -> dict[str, Any]:
    """One race. Returns its row of races.jsonl."""
    root, name = out / "runs", f"run-{number:03d}"
    new = number % 2 == 0
    before = {} if new else dead_run(root, name)
    train = ["train", RECIPE, "--name", name, "--set", f"root={root}"]
    resume = ["resume", str(root / name)]
    commands = [train] * 4 if new else [resume] * 3 + [train]
    if submit:
        commands = [*commands, ["submit", RECIPE, "--name", name, "--set", f"root={root}", "--follow"]]
    go = context.Event()
    processes, outputs = [], []
    for place, arguments in enumerate(commands):
        cluster = clusters[place % len(clusters)]
        output = out / "printed" / f"{name}-{place}"
        settings = (arguments, cluster.environment, cluster.number, go, output)
        processes.append(context.Process(target=contend, args=settings))
        outputs.append(output)
    watcher = context.Process(target=look, args=(root, name, go, out / "printed" / f"{name}-serve"))
    for process in (*processes, watcher):
        process.start()
    time.sleep(2)  # all have begun and wait
    began = time.monotonic()
    go.set()
    while sum(process.is_alive() for process in processes) > 1 and time.monotonic() - began < LIMIT_S:
        time.sleep(0.05)
    seconds = time.monotonic() - began
    printed = [output.read_text() for output in outputs]
    went_on = [place for place, text in enumerate(printed) if text.startswith("[ 0:00] run folder")]
    owner = f"process {processes[went_on[0]].pid} " if went_on else "?"
    refused = [text for place, text in enumerate(printed) if place not in went_on and is_refusal(text)]
    row = {
        "race": name,
        "went_on": len(went_on),
        "refused": len(refused),
        "named": sum(owner in text for text in refused),
        "faults": [text[-500:] for place, text in enumerate(printed) if place not in went_on and not is_refusal(text)],
        "changed": [file for file, digest in before.items() if hashes(root / name).get(file) != digest],
        "seconds": seconds,
    }
    for process in processes:
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    watcher.join()
    row["served"] = (out / "printed" / f"{name}-serve").read_text()
    return row


def is_refusal(text: str) -> bool:
    """Whether a command ended with one line that says why it may not go on; a job's output comes after its number."""
    lines = [line for line in text.splitlines() if not line.startswith("job ")]
    return len(lines) == 1 and lines[0].startswith("curlvpr: ") and any(words in lines[0] for words in REFUSALS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--clusters", type=int, default=1, choices=(1, 2))
    parser.add_argument("--submits", type=int, default=3)
    parser.add_argument("--temp", type=Path, default=Path("/tmp/races"), help="a short path for Ray's sockets")
    args = parser.parse_args()
    out = args.out.absolute()
    (out / "printed").mkdir(parents=True, exist_ok=True)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex}  # Ray reads it when it is imported
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cluster.run.launch", "cluster.cli.app", "cluster.service.chat_policy"])
    clusters = [Cluster(number, args.temp / f"{number}") for number in range(args.clusters)]
    rows = []
    try:
        for cluster in clusters:
            cluster.start()
        with open(out / "races.jsonl", "w", encoding="utf-8") as file:
            for number in range(args.races):
                submit = number % 2 == 0 and number >= args.races - 2 * args.submits
                rows.append(race(context, out, number, clusters, submit))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    finally:
        for cluster in clusters:
            cluster.stop()
    print(
        json.dumps(
            {
                "races": len(rows),
                "one_went_on": sum(row["went_on"] == 1 for row in rows),
                "refused": sum(row["refused"] for row in rows),
                "named": sum(row["named"] for row in rows),
                "faults": sum(len(row["faults"]) for row in rows),
                "changed": sum(len(row["changed"]) for row in rows),
                "served_named": sum("in progress, in process" in row["served"] for row in rows),
                "median_seconds": median(row["seconds"] for row in rows),
            }
        )
    )


if __name__ == "__main__":
    main()
