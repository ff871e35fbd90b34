"""Parquet files as they come: a fault is one line."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curriculum.sets.parquet import TaskSetError, named_images, read_rows


def test_rows_come_in_order_however_many_at_a_time(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": list(range(10))}), path, row_group_size=3)
    for at_once in (1, 4, 100):
        assert [row["x"] for row in read_rows(path, ["x"], at_once=at_once)] == list(range(10))


@pytest.mark.parametrize(
    "required, allowed, words",
    [(["y"], None, "column 'y' is missing; found .'x'."), (["x"], ["y"], "column 'x' is unknown; the columns may be")],
)
def test_wrong_columns_are_named(tmp_path, required, allowed, words):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(TaskSetError, match=words):
        read_rows(tmp_path / "a.parquet", required, allowed)


def test_what_is_no_parquet_file_is_one_line(tmp_path):
    (tmp_path / "a.parquet").write_text("log in first")
    with pytest.raises(TaskSetError, match="not a readable Parquet file"):
        read_rows(tmp_path / "a.parquet", [])
    with pytest.raises(TaskSetError, match="no such file"):
        read_rows(tmp_path / "b.parquet", [])


def test_a_text_that_is_no_utf8_is_named_by_row_and_column(tmp_path):
    texts = pa.array([b"a", b"b", b"\xff"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"x": [1, 2, 3], "text": texts}), tmp_path / "a.parquet")
    with pytest.raises(TaskSetError, match="row 2 .*column 'text': not UTF-8"):
        list(read_rows(tmp_path / "a.parquet", []))


def test_images_that_a_file_holds_have_no_names(tmp_path):
    pq.write_table(pa.table({"images": [["a.png", "b.png"], []]}), tmp_path / "named.parquet")
    held = pa.array([[{"bytes": b"x", "path": "a.png"}]])
    pq.write_table(pa.table({"images": held}), tmp_path / "held.parquet")
    assert list(named_images(tmp_path / "named.parquet")) == [["a.png", "b.png"]]
    assert list(named_images(tmp_path / "held.parquet")) == []
