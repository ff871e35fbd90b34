"""How fast `curlvpr data check` reads a set, and in how much memory. The set has few films: decoding counts little.

    python -m bench.data_check [recipes/smoke.yaml]

With a recipe, its tokenizer is built and every prompt and gold trace is counted in tokens. Every line is measured in
a process of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import cycle
from multiprocessing.connection import Connection
from os import devnull
from pathlib import Path

from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task
from curriculum.taskset import write_tasks


def draw_tasks(folder: Path, number: int) -> Iterator[Task]:
    """Tasks with different ids, five for each patient, on 60 films."""
    tasks = list(draw_phantom_set(PhantomConfig(train=40, val=10, test=10), folder))
    for index, task in zip(range(number), cycle(tasks)):
        yield task.model_copy(update={"id": f"{task.id}-{index}", "patient": f"patient-{index // 5}"})


def measure(folder: str, recipe: str | None, connection: Connection) -> None:
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()
    from cluster.config.recipe_file import load_recipe
    from cluster.standalone.data_check import check

    start, cpu_start = time.monotonic(), time.process_time()
    with open(devnull, "w") as null, redirect_stdout(null):
        check(Path(folder), load_recipe(Path(recipe)) if recipe else None)
    connection.send(
        (
            time.monotonic() - start,
            time.process_time() - cpu_start,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
    )


def main(recipe: str | None) -> None:
    context = multiprocessing.get_context("spawn")
    for number in (10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            write_tasks(draw_tasks(Path(folder), number), Path(folder))
            receiver, sender = context.Pipe()
            process = context.Process(target=measure, args=(folder, recipe, sender))
            process.start()
            sender.close()
            seconds, cpu, peak = receiver.recv()
            process.join()
        print(
            f"{number:>7,} tasks: {seconds:6.1f} s ({number / seconds:,.0f} tasks/s), {cpu:5.1f} s of CPU, "
            f"peak {peak:,.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
