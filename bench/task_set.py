"""A set of CX-Set's size: how soon a run draws from it, in how much memory, and how fast a check of images is.

    python -m bench.task_set [OUT] [--tasks 2619148] [--films 708473] [--checked 100000] [--json]

Makes 23 sources of so many tasks about so many films, which lie in tar shards, and measures, each in a process of its
own:

- `first_start`: reads and checks everything, as the first run on a set does;
- `start`: a later run's way to its first task, its memory then, and what a draw takes, in order and by what tasks
  teach; a sampler that goes on from a saved state must draw what the first one draws next;
- `old_way`: a tenth of the tasks as Python objects, as before sets were mapped; its seconds and memory are of a tenth;
- `check`: `--checked` tasks about as many films of 224 × 224 pixels on one core and on two.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curriculum.taskset import SCHEMA

SOURCES = 23
FAMILIES = ("binary", "single_choice", "diagnosis")
FINDINGS = ("Atelectasis", "Cardiomegaly", "Edema", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
FILMS_A_SHARD = 20_000
DRAWS = 5_000
MIXTURE = {"binary": 0.4, "single_choice": 0.4, "diagnosis": 0.2}


def sizes(total: int, parts: int) -> list[int]:
    """How large each of some sources is: the first has a third, the last a thousandth, as in CX-Set."""
    weights = np.geomspace(1, 1 / 300, parts)
    counts = np.floor(weights / weights.sum() * total).astype(int)
    counts[0] += total - counts.sum()
    return [int(count) for count in counts]


def make_films(folder: Path, count: int, side: int, kinds: int, seed: int = 0) -> list[str]:
    """Tar shards of films; `kinds` different ones, under as many names as there are films."""
    rng = np.random.default_rng(seed)
    contents = []
    for _ in range(kinds):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side), np.uint8)).save(file, "JPEG", quality=90)
        contents.append(file.getvalue())
    names = []
    for first in range(0, count, FILMS_A_SHARD):
        shard = f"films-{first // FILMS_A_SHARD:04d}.tar"
        with tarfile.open(folder / shard, "w") as archive:
            for number in range(first, min(count, first + FILMS_A_SHARD)):
                info = tarfile.TarInfo(f"{number:06d}.jpg")
                info.size = len(contents[number % kinds])
                archive.addfile(info, io.BytesIO(contents[number % kinds]))
                names.append(f"{shard}/{info.name}")
    return names


def make_source(folder: Path, name: str, tasks: int, films: list[str]) -> None:
    """A source as an importer would write it: questions of three families about its films, in turn."""
    numbers = np.arange(tasks)
    film = numbers * len(films) // tasks
    finding = [FINDINGS[n % len(FINDINGS)] for n in range(tasks)]
    family = [FAMILIES[n % 3] for n in range(tasks)]
    split = np.where(film % 20 == 0, "test", np.where(film % 20 == 1, "val", "train"))
    columns: dict[str, Any] = {
        "id": [f"{name}-{n}" for n in range(tasks)],
        "domain": ["open" if n % 3 == 2 else "closed" for n in range(tasks)],
        "family": family,
        "question": [
            "Which findings does this film show?"
            if n % 3 == 2
            else f"Which of these does this film show? ({finding[n]})"
            for n in range(tasks)
        ],
        "options": [_options(n) for n in range(tasks)],
        "form": ["names" if n % 3 == 2 else "letters" for n in range(tasks)],
        "gold": [[finding[n]] if n % 3 == 2 else ["A"] for n in range(tasks)],
        "images": [[films[n]] for n in film],
        "reference": ["<think>The film is read in steps.</think><answer>A</answer>"] * tasks,
        "split": split,
        "patient": [f"{name}-p{n}" for n in film],
        "source": [name] * tasks,
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else _empty(field, tasks) for field in SCHEMA
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), folder / "tasks.parquet", row_group_size=8192)


def _options(number: int) -> list[tuple[str, str]]:
    if number % 3 == 2:
        return []
    texts = ("Yes", "No") if number % 3 == 0 else FINDINGS[:4]
    return list(zip("ABCD", texts, strict=False))


def _empty(field: pa.Field, rows: int) -> pa.Array:
    if pa.types.is_string(field.type) and field.name != "reference":
        return pa.array([""] * rows, field.type)
    return pa.array([[]] * rows, field.type) if pa.types.is_list(field.type) else pa.nulls(rows, field.type)


def recipe_of(folder: Path) -> Any:
    """The smoke recipe on the sources in a folder."""
    from cluster.config.recipe_file import load_recipe

    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    sources = ", ".join(f"{{name: {name}, tasks: {folder / name}}}" for name in names)
    return load_recipe(Path("recipes/smoke.yaml"), [f"data={{sources: [{sources}], size_power: 0.5}}"])


def start(folder: Path) -> dict[str, Any]:
    """Reads the sources, draws a first task, and goes on drawing."""
    recipe = recipe_of(folder)
    from cluster.run.task_sources import TaskSources
    from curriculum.sampler import Outcome, Sampler
    from curriculum.sampling.choice import Adaptive

    began = time.perf_counter()
    train = TaskSources(recipe, lambda line: None).table().of_split("train")
    sampler = Sampler(train, 0, recipe.data.mixing)
    sampler.draw(MIXTURE, 1)
    first, at_first = time.perf_counter() - began, memory_mib("VmRSS")
    state = sampler.state_dict()
    times = []
    drawn = []
    for _ in range(DRAWS):
        before = time.perf_counter()
        drawn.append(sampler.draw(MIXTURE, 1)[0][0].id)
        times.append(time.perf_counter() - before)
    how, adaptive_times = Adaptive("only", 8), []
    by_signal = Sampler(train, 0, recipe.data.mixing)
    for number in range(DRAWS):
        before = time.perf_counter()
        task, _ = by_signal.draw(MIXTURE, 1, (), how)[0]
        adaptive_times.append(time.perf_counter() - before)
        by_signal.observe([Outcome(task, [number % 2] * 4 + [1.0] * 4, False)], number // 64, how)
    resumed = Sampler(train, 0, recipe.data.mixing)
    resumed.load_state_dict(json.loads(json.dumps(state)))
    same = [resumed.draw(MIXTURE, 1)[0][0].id for _ in range(100)] == drawn[:100]
    return {
        "seconds_to_first_task": round(first, 2),
        "tasks": len(train),
        "mib_at_first_task": at_first,
        "own_mib": memory_mib("RssAnon"),
        "mib": memory_mib("VmRSS"),
        "draw_ms_median": round(1000 * float(np.median(times)), 3),
        "draw_ms_99": round(1000 * float(np.quantile(times, 0.99)), 3),
        "adaptive_draw_ms_median": round(1000 * float(np.median(adaptive_times)), 3),
        "adaptive_draw_ms_99": round(1000 * float(np.quantile(adaptive_times, 0.99)), 3),
        "adaptive_state_kib": len(json.dumps(by_signal.state_dict())) >> 10,
        "resumed_at_the_same_place": same,
    }


def old_way(folder: Path) -> dict[str, Any]:
    """The tasks of a folder as objects, every row checked anew."""
    from curriculum.taskset import read_tasks

    before = memory_mib("VmRSS")
    began = time.perf_counter()
    tasks = [task for path in sorted(folder.iterdir()) if path.is_dir() for task in read_tasks(path)]
    return {"seconds": round(time.perf_counter() - began, 2), "tasks": len(tasks), "mib": memory_mib("VmRSS") - before}


def check(folder: Path, cores: int) -> dict[str, Any]:
    """A whole check of a set, on so many cores."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
    from curriculum.check import check_tasks

    for file in folder.glob(".*"):
        file.unlink()
    began = time.perf_counter()
    faults = sum(len(row.faults) for row in check_tasks(folder))
    return {"seconds": round(time.perf_counter() - began, 2), "faults": faults}


def memory_mib(kind: str) -> int:
    """Of this process: VmRSS is all that lies in RAM, RssAnon without pages of files, which the system may drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{kind}:")]
    return int(line.split()[1]) >> 10


def apart(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a function that runs in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def measured(out: Path, tasks: int, films: int, checked: int) -> dict[str, Any]:
    """All measurements, in folders under `out`."""
    sets, tenth, checks = (out / name for name in ("sources", "tenth", "checks"))
    for folder, count, of_films in ((sets, tasks, films), (tenth, tasks // 10, films // 10)):
        for number, (rows, names) in enumerate(zip(sizes(count, SOURCES), sizes(of_films, SOURCES), strict=True)):
            place = folder / f"source{number:02d}"
            place.mkdir(parents=True)
            make_source(place, place.name, rows, make_films(place, max(names, 20), 16, max(names, 20), number))
    checks.mkdir()
    make_source(checks, "checks", checked, make_films(checks, checked, 224, 500))
    result: dict[str, Any] = {"first_start": apart(start, sets), "start": apart(start, sets)}
    apart(start, tenth)
    result["tenth"] = apart(start, tenth)
    result["old_way"] = apart(old_way, tenth)
    one, two = (apart(check, checks, cores) for cores in (1, 2))
    result["check"] = {"one_core": one, "two_cores": two, "ratio": round(one["seconds"] / two["seconds"], 2)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, help="a new folder; a temporary one where left out")
    parser.add_argument("--tasks", type=int, default=2_619_148)
    parser.add_argument("--films", type=int, default=708_473)
    parser.add_argument("--checked", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.out and arguments.out.parent) as temporary:
        result = measured(arguments.out or Path(temporary), arguments.tasks, arguments.films, arguments.checked)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
