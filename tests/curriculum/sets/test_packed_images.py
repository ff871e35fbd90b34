"""Images inside tar archives and Parquet files are read as files are."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curriculum.check import check_tasks
from curriculum.images import ImageError, load_image
from curriculum.sets.packed_images import packed_in
from curriculum.sets.stamp import stamp_of
from curriculum.sets.task_table import read_task_table
from curriculum.taskset import SCHEMA, write_tasks
from tests.support.task_sets import question


def png(value):
    file = io.BytesIO()
    Image.new("L", (8, 6), value).save(file, "PNG")
    return file.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def shown(path):
    return int(np.asarray(load_image(path))[0, 0, 0])


def test_members_of_a_tar_are_images_of_tasks(tmp_path):
    write_tar(tmp_path / "films-0.tar", {"a.png": png(10), "deep/b.png": png(20), "a.json": b"{}"})
    names = ["films-0.tar/a.png", "films-0.tar/deep/b.png"]
    write_tasks([question(name, images=(str(tmp_path / name),)) for name in names], tmp_path)
    (tmp_path / "tasks.parquet").rename(tmp_path / "set.parquet")
    rows = list(check_tasks(tmp_path / "set.parquet"))
    assert not [fault for row in rows for fault in row.faults] and rows[0].sizes == ((8, 6),)
    assert [shown(row.task.images[0]) for row in rows] == [10, 20]
    assert next(check_tasks(tmp_path / "set.parquet", again=False)).sizes == ((8, 6),)


def test_a_tar_that_is_written_again_is_read_again(tmp_path):
    path = tmp_path / "films.tar"
    write_tar(path, {"a.png": png(10)})
    before = stamp_of(str(path / "a.png"))
    assert shown(path / "a.png") == 10
    write_tar(path, {"first.png": png(1), "a.png": png(30)})
    assert shown(path / "a.png") == 30 and stamp_of(str(path / "a.png")) != before


def test_a_film_that_is_not_there_or_breaks_off_is_one_line(tmp_path):
    path = tmp_path / "films.tar"
    write_tar(path, {"a.png": png(10) + bytes(4096)})
    with pytest.raises(ImageError, match=r"films\.tar holds no such image"):
        load_image(path / "b.png")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ImageError, match=r"cut\.tar cannot be read \(.*\)"):
        load_image(cut / "a.png")
    (tmp_path / "text.tar").write_text("log in first " * 100)
    with pytest.raises(ImageError, match=r"text\.tar cannot be read \(not a whole tar archive"):
        load_image(tmp_path / "text.tar/a.png")
    with pytest.raises(ImageError, match="no such image file"):
        load_image(tmp_path / "none.tar/a.png")


@pytest.mark.parametrize("folder", ["plain", "old.tar"])  # a folder may be called so
def test_a_file_is_a_file_wherever_it_lies(tmp_path, folder):
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "a.png"
    path.write_bytes(png(7))
    assert packed_in(path) is None and shown(path) == 7


def test_a_set_may_hold_its_images_itself(tmp_path):
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = SCHEMA.set(SCHEMA.get_field_index("images"), pa.field("images", pa.list_(image)))
    rows = []
    for number in range(20):
        task = question(f"q{number}", reference="r").model_dump()
        held = [{"bytes": png(number), "path": None}, {"bytes": png(100 + number), "path": "x.png"}]
        rows.append(task | {"options": list(task["options"].items()), "images": held})
    rows[3]["images"][1]["bytes"] = b"log in first"
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "tasks.parquet", row_group_size=7)
    checked = list(check_tasks(tmp_path))
    assert [(row.number, fault.kind) for row in checked for fault in row.faults] == [(3, "image")]
    task = read_task_table(tmp_path)[17]
    assert [shown(image) for image in task.images] == [17, 117]
    with pytest.raises(ImageError, match=r"tasks\.parquet holds no such image"):
        load_image(tmp_path / "tasks.parquet/99/0")
