import gzip

import pytest

from curriculum.importers.parts.files import read_csv
from curriculum.taskset import TaskSetError

ROWS = [{"a": "1", "b": "x, y"}, {"a": "2", "b": ""}]


def test_rows_of_a_plain_and_of_a_compressed_file(tmp_path):
    text = 'a,b\n1,"x, y"\n2\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8-sig")  # with a byte order mark, as spreadsheets write
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(text)
    for name in ("t.csv", "t.csv.gz"):
        path = tmp_path / name
        places, rows = zip(*read_csv(path, ("a", "b"), "a table"), strict=True)
        assert list(rows) == ROWS
        assert places == tuple(f"{path}: row {number} (0-based, without the header)" for number in range(2))


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("a;b\n1;x, y\n2;;spare\n", "utf-8"),
        ("sep=;\r\na;b\r\n1;x, y\r\n;\r\n2;\r\n;\r\n", "utf-8-sig"),  # Excel, where the comma is a decimal mark
        ("a\tb\r\n1\tx, y\r\n2\t\r\n\t\r\n", "utf-16"),  # Excel's "Unicode text"
        ('"a","b"\r\n"1","x, y"\r\n"2",\r\n,\r\n\r\n', "utf-8-sig"),
    ],
)
def test_a_table_as_spreadsheets_save_it(tmp_path, text, encoding):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert [row for _, row in read_csv(tmp_path / "t.csv", ("a", "b"), "a table")] == ROWS


def test_a_row_keeps_its_number_beside_empty_ones(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n,\n1,2\n")
    assert [place for place, _ in read_csv(tmp_path / "t.csv", ("a",), "a table")] == [
        f"{tmp_path / 't.csv'}: row 1 (0-based, without the header)"
    ]


def test_one_column_needs_no_delimiter(tmp_path):
    (tmp_path / "t.csv").write_text("a\nx;y\n")
    assert [row for _, row in read_csv(tmp_path / "t.csv", ("a",), "a table")] == [{"a": "x;y"}]


def test_missing_cells_and_marks(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeff a ,b\nnan,1\nNULL,<NA>\n#N/A, x\0 \nNA,-\n", encoding="utf-8")
    rows = [row for _, row in read_csv(tmp_path / "t.csv", ("a", "b"), "a table")]
    assert [tuple(row.values()) for row in rows] == [("", "1"), ("", "x"), ("NA", "-")]


def test_another_encoding_is_named_with_its_row(tmp_path):
    (tmp_path / "t.csv").write_bytes("a\n1\ncafé\n".encode("latin-1"))
    with pytest.raises(TaskSetError, match=r"near row 0 .* it is not UTF-8 \(.*\): save it as UTF-8"):
        list(read_csv(tmp_path / "t.csv", ("a",), "a table"))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"a,c\n1,2\n", r"column 'b' is missing; found \['a', 'c'\]; a table is needed"),
        (b"", "column 'a' is missing"),
        (b"\xff\xfe\x00", "not a readable CSV file; a table is needed"),
        (None, "not a readable CSV file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TaskSetError, match=words):
        list(read_csv(tmp_path / "t.csv", ("a", "b"), "a table"))
    with pytest.raises(TaskSetError, match="not a readable CSV file"):
        list(read_csv(tmp_path / "t.csv.gz", ("a", "b"), "a table"))
