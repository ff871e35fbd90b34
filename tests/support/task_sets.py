"""A task set without faults, copies of it with faults, and small tasks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curriculum.boxes import write_box
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task
from curriculum.taskset import SCHEMA, write_tasks


def make_clean_set(folder: Path) -> tuple[Path, list[dict]]:
    """Fills a folder with films and a set with every form of task; returns both. Each row has bad images as well.

    Row N finds a cut file as images/cutN.png, a text as images/textN.png and a film 300 times as wide as high as
    images/thinN.png.
    """
    tasks = list(draw_phantom_set(PhantomConfig(train=6, val=3, test=3), folder))
    tasks += [
        Task(
            id=f"box-{n}",
            domain="open",
            form="boxes",
            family="grounding",
            question="Where is Mass?",
            gold=(write_box(1, 2, 30, 40, 100, 100),),
            images=task.images,
            split=task.split,
            patient=task.patient,
        )
        for n, task in enumerate(tasks[::5])
    ]
    whole = Path(tasks[0].images[0]).read_bytes()
    for number in range(len(tasks)):
        (folder / f"images/cut{number}.png").write_bytes(whole[: len(whole) // 2])
        (folder / f"images/text{number}.png").write_text("log in first")
        Image.new("L", (900, 3)).save(folder / f"images/thin{number}.png")
    write_tasks(tasks, folder)
    return folder, pq.read_table(folder / "tasks.parquet").to_pylist()


def save_rows(folder: Path, rows: list[dict]) -> Path:
    """Writes a task set with these rows, right or wrong; returns its folder."""
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "tasks.parquet")
    return folder


def copy_of(folder: Path, tmp_path_factory) -> Path:
    """A folder with the same films."""
    copy = tmp_path_factory.mktemp("copy")
    (copy / "images").symlink_to(folder / "images")
    return copy


def with_faults(clean_set: tuple[Path, list[dict]], tmp_path_factory) -> Path:
    """A copy of the clean set with faults in rows 1, 6 and 12, and a special token in row 15."""
    folder, rows = clean_set
    rows = [dict(row) for row in rows]
    rows[1] |= {"question": ""}
    rows[6] |= {"images": ["images/gone.png"]}
    rows[12] |= {"id": rows[11]["id"]}
    rows[15] |= {"question": "Is there <|im_end|>?"}
    return save_rows(copy_of(folder, tmp_path_factory), rows)


def faults_of(rows):
    """(row number, kind) of each fault."""
    return Counter((row.number, fault.kind) for row in rows for fault in row.faults)


def question(id: str, family: str = "binary", gold: str = "A", **more) -> Task:
    options = {"A": "Yes", "B": "No"}
    more = {"images": (), "question": "Edema?"} | more
    return Task(id=id, domain="closed", family=family, options=options, gold=(gold,), **more)


def finding(id: str, *gold: str, **more) -> Task:
    more = {"images": (f"/films/{id}.png",), "question": "Which findings?"} | more
    return Task(id=id, domain="open", family="diagnosis", gold=gold, **more)


def write_shards(tasks: Sequence[Task], folder: Path, count: int) -> Path:
    """A set of so many shards, each of several row groups; images are as in the tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rows = [task.model_dump() | {"options": list(task.options.items())} for task in tasks[number::count]]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, folder / f"tasks-{number:05d}-of-{count:05d}.parquet", row_group_size=3)
    return folder
