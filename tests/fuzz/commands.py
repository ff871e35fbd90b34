"""Visits of the command line: each function gives the strategy of one kind of input."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

from curriculum.taskset import SCHEMA
from tests.fuzz.corpus import (
    CSV_PIECES,
    FAULT_CASES,
    JSON_PIECES,
    XML_PIECES,
    YAML_PIECES,
    Corpus,
    case_rows,
    cases,
    easyr1_rows,
    json_lines,
    recipes,
    responses,
    texts,
)
from tests.fuzz.door import Visit
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree
from tests.support.data_sets import png

Visits = st.SearchStrategy[Visit]
PLAN = ("plan", "recipe.yaml", "--cluster", "1x2x80,cpus=16,ram=64", "--json")


def recipe_files(corpus: Corpus) -> Visits:
    """Recipes with odd keys and values, and YAML that is damaged."""
    trees = recipes()
    written = [yaml.safe_dump(tree, sort_keys=False).encode() for tree in trees]
    odd = odd_tree(trees).map(_yaml) | odd_bytes(written, YAML_PIECES)
    overrides = st.lists(_override(trees), max_size=2)
    links = {"data": corpus.task_set, "model": corpus.model}
    planned = st.builds(
        lambda content, set_: Visit((*PLAN, *set_), {"recipe.yaml": content}, links), odd, overrides.map(_flat)
    )
    rules = odd.map(
        lambda content: Visit(
            ("reward", "score", "rows.jsonl", "--recipe", "recipe.yaml"),
            {"recipe.yaml": content, "rows.jsonl": json_lines(responses()[:2])},
            links,
        )
    )
    return planned | planned | rules


def _yaml(tree: Any) -> bytes:
    try:
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, TypeError, ValueError):
        return repr(tree).encode("utf-8", "surrogatepass")


@st.composite
def _override(draw: st.DrawFn, trees: list[Any]) -> str:
    """A setting of `--set`: the path of a key, a little wrong at times, and a value in YAML."""
    path = ""
    node = draw(st.sampled_from(trees))
    while isinstance(node, dict | list) and node:
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        path = f"{path}.{key}" if path else str(key)
        node = node[key]
        if draw(st.integers(0, 3)) == 0:
            break
    if draw(st.integers(0, 4)) == 0:
        path += draw(st.sampled_from([".", ".x", "..", " ", ".0", ".-1", "\x1b[31m", ".\udcff"]))
    value = draw(
        st.sampled_from(["", "1", "[", "{a: 1}", "null", "1e400", "2020-13-45", "&a [*a]", "\udcff", "!!int x", "x"])
    )
    return f"{path}{draw(st.sampled_from(['=', '=', '=', '']))}{value}"


def _flat(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def task_files(corpus: Corpus) -> Visits:
    """Task sets with odd rows, columns of other types, and damaged Parquet."""
    rows = [row | {"options": dict(row["options"] or [])} for row in corpus.rows]
    groups = [rows[:6], rows[-6:], case_task_rows() or rows[:3]]
    right = [_parquet(corpus.rows[:8], SCHEMA), *cases("own-odd-options/*.parquet")]
    odd = odd_tree(groups).map(_parquet) | _with_odd_columns(corpus.rows[:6]) | odd_bytes(right)
    links = {"images": corpus.task_set / "images"}
    plain = odd.map(lambda content: Visit(("data", "check", "tasks.parquet"), {"tasks.parquet": content}, links))
    page = odd.map(
        lambda content: Visit(
            ("data", "check", ".", "--html", "page.html"), {"tasks.parquet": content}, links, reports=("page.html",)
        )
    )
    recipe = yaml.safe_dump(recipes()[-1]).encode()
    tokens = odd.map(
        lambda content: Visit(
            ("data", "check", "tasks.parquet", "--recipe", "recipe.yaml"),
            {"tasks.parquet": content, "recipe.yaml": recipe},
            {**links, "model": corpus.model},
        )
    )
    return plain | plain | page | tokens


def case_task_rows() -> list[dict[str, Any]]:
    path = FAULT_CASES / "own-odd-options/tasks.parquet"
    rows = pq.read_table(path).to_pylist() if path.is_file() else []
    return [row | {"options": dict(row["options"] or [])} for row in rows]


def _parquet(rows: Any, schema: pa.Schema | None = None) -> bytes:
    """Rows as Parquet; a column whose values have no common type is written as JSON text."""
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    sink = pa.BufferOutputStream()
    if schema:
        table = pa.Table.from_pylist(rows, schema=schema)
    else:
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.table({_valid(name): _column([row.get(name) for row in rows]) for name in names} or {"id": []})
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _column(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
        pq.write_table(pa.table({"a": column}), pa.BufferOutputStream())
        return column
    except (pa.ArrowException, OverflowError, UnicodeError, ValueError, TypeError):
        return pa.array([_valid(json.dumps(value, default=repr)) for value in values])


def _valid(text: Any) -> str:
    return str(text).encode("utf-8", "replace").decode()


@st.composite
def _with_odd_columns(draw: st.DrawFn, rows: list[dict[str, Any]]) -> bytes:
    """A task set with one column of another type, twice, or without a name."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    place = draw(st.integers(0, table.num_columns - 1))
    kinds = [
        pa.null(),
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float64(),
        pa.bool_(),
        pa.binary(),
        pa.large_string(),
        pa.date32(),
        pa.timestamp("ns"),
        pa.duration("s"),
        pa.time64("ns"),
        pa.decimal128(38, 10),
        pa.list_(pa.int64()),
        pa.list_(pa.binary()),
        pa.list_(pa.list_(pa.string())),
        pa.struct([("A", pa.string())]),
        pa.struct([]),
        pa.map_(pa.string(), pa.string()),
        pa.map_(pa.int32(), pa.string()),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.struct([("x", pa.string())])),
    ]
    kind = draw(st.sampled_from(kinds))
    value = draw(
        st.sampled_from(
            [None, 0, 1, b"\xff\xfe", b"", "x", [0], [None], [b"\xff"], [["a"]], {"A": "x"}, [("A", "x")], [(1, "x")]]
        )
    )
    try:
        column = pa.array([value] * table.num_rows, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        column = pa.nulls(table.num_rows, kind)
    name = draw(st.sampled_from([table.column_names[place]] * 4 + ["", "id", "Question", "a\0b", "\x1b[31m"]))
    names = [*table.column_names[:place], name, *table.column_names[place + 1 :]]
    columns = [*table.columns[:place], column, *table.columns[place + 1 :]]
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.Table.from_arrays(columns, names=names), sink)
    except (pa.ArrowException, ValueError):  # such as a struct without fields
        pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def films(corpus: Corpus) -> Visits:
    """PNG, JPEG and others, damaged, in a task set and in the rows of an import."""
    row = corpus.rows[0] | {"images": ["film.png"], "captions": []}
    tasks = _parquet([row], SCHEMA)
    odd = odd_bytes(corpus.films) | st.sampled_from(corpus.films)
    checked = odd.map(
        lambda film: Visit(
            ("data", "check", ".", "--html", "page.html"),
            {"tasks.parquet": tasks, "film.png": film},
            reports=("page.html",),
        )
    )

    def held(film: bytes) -> Visit:
        images = [{"bytes": film, "path": None}]
        rows = [{"problem": "<image>Is there edema?", "answer": "no", "images": images}]
        arguments = ("data", "import", "easyr1", "--labels", "rows.parquet", "--out", "out")
        return Visit(arguments, {"rows.parquet": _parquet(rows)})

    return checked | checked | odd.map(held)


def dicom_films(corpus: Corpus) -> Visits:
    """DICOM files with odd elements and damaged bytes; a right one lies beside them at times."""
    from tests.fuzz.dicom import odd_headers

    labels = b"image,labels,patient_id\na.dcm,Mass|Edema,p\nb.dcm,No Finding,q\n"
    arguments = ("data", "import", "dicom", "--images", "in", "--labels", "labels.csv", "--out", "out")
    odd = odd_bytes(corpus.dicoms) | odd_headers()
    other = st.sampled_from([corpus.dicoms[0], b""])
    return st.builds(
        lambda film, beside: Visit(arguments, {"labels.csv": labels, "in/a.dcm": film, "in/b.dcm": beside}), odd, other
    )


def label_files(corpus: Corpus) -> Visits:
    """What the importers read: CSV, JSON, Parquet and XML files."""
    from tests.fuzz.archives import archives

    kinds = []
    for archive in archives():
        odd = archive.odd(CSV_PIECES, JSON_PIECES, XML_PIECES)
        kinds.append(odd.map(archive.visit))
    return st.one_of([*kinds, _easyr1()])


def _easyr1() -> Visits:
    groups = easyr1_rows()
    trees = odd_tree(groups, JSON_VALUES)
    images = {f"img/{number}.png": png(number) for number in range(4)}

    def visit(name: str, content: bytes) -> Visit:
        arguments = ("data", "import", "easyr1", "--labels", name, "--images", "img", "--out", "out")
        return Visit(arguments, {**images, name: content})

    lines = (trees.map(json_lines) | odd_bytes([json_lines(rows) for rows in groups], JSON_PIECES)).map(
        lambda content: visit("rows.jsonl", content)
    )
    lists = trees.map(lambda rows: visit("rows.json", json.dumps(rows).encode()))
    tables = trees.map(lambda rows: visit("rows.parquet", _parquet(rows)))
    return lines | lists | tables


def response_files(corpus: Corpus) -> Visits:
    """Lines of responses and texts for `curlvpr reward`."""
    rows, lines = responses(), texts()
    scored = st.lists(odd_tree(rows, JSON_VALUES), min_size=1, max_size=3).map(json_lines)
    scored |= odd_bytes([json_lines(rows[:4])], JSON_PIECES)
    read = st.lists(odd_tree(lines, JSON_VALUES), min_size=1, max_size=3).map(json_lines)
    read |= odd_bytes([json_lines(lines[:4])], JSON_PIECES)
    commands = [("score",), ("score", "--preset", "paper"), ("read",), ("explain",), ("explain", "--line", "2")]
    of_responses = st.builds(
        lambda content, words: Visit(("reward", words[0], "rows.jsonl", *words[1:]), {"rows.jsonl": content}),
        scored,
        st.sampled_from(commands),
    )
    of_texts = st.builds(
        lambda content, words: Visit(("reward", "extract", "rows.jsonl", *words), {"rows.jsonl": content}),
        read,
        st.sampled_from([(), ("--explain",)]),
    )
    options = odd_tree([{"stages": ["lungs", "heart"], "weight": 1}], JSON_VALUES).map(json.dumps)
    of_rules = options.map(lambda text: Visit(("reward", "check", "rewards.own:stage_order", "--options", text), {}))
    return of_responses | of_responses | of_texts | of_rules


__all__ = ["case_rows", "dicom_films", "films", "label_files", "recipe_files", "response_files", "task_files"]
