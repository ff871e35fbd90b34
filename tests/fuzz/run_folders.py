"""Visits of the commands that read a run folder, one of whose files is spoilt."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

from tests.fuzz.commands import Visits
from tests.fuzz.corpus import JSON_PIECES, YAML_PIECES, Corpus, json_lines, recipes
from tests.fuzz.door import Visit
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree

TEST = {
    "open_micro_f1": 0.4,
    "closed_accuracy": 0.6,
    "intervals": {"closed_accuracy": [0.5, 0.7], "open_micro_f1": [0.3, 0.5]},
}
SUMMARY: dict[str, Any] = {
    "run": "one",
    "status": "finished",
    "steps": 4,
    "step": 4,
    "version": 4,
    "why": None,
    "lineage": 1,
    "ledger": {"issued": 8, "trained": 8, "dropped": 0, "in_flight": 0},
    "seconds": {"all": 30.0, "learn": 10.0, "generate": 12.0, "evaluate": 8.0},
    "stages": [
        {
            "name": "sft",
            "steps": 2,
            "reason": "maximum",
            "scores": [[2, 0.5]],
            "evaluation": {"start": TEST, "end": TEST, "gain": {}},
        },
        {"name": "closed", "steps": 2, "reason": None, "scores": [], "evaluation": {"start": TEST}},
    ],
}
ROWS = [
    {
        "event": "step",
        "stage": "sft",
        "kind": "sft",
        "step": step,
        "stage_step": step,
        "version": step,
        "loss": 1.0 / step,
        "reward": 0.1,
    }
    for step in (1, 2, 3)
]
LOG = [
    {"time": "2026-01-01T10:00:00+00:00", "text": "begun", "step": 0},
    {"time": "2026-01-01T10:00:01+00:00", "text": "step 1"},
]
COMMANDS = [
    ("report", "one"),
    ("runs", "."),
    ("runs", ".", "--json"),
    ("logs", "one"),
    ("compare", "one", "two", "--out", "page.html"),
]


def run_folders(corpus: Corpus) -> Visits:
    smoke = next(tree for tree in recipes() if tree["name"] == "smoke")
    right = {
        "recipe.yaml": yaml.safe_dump(smoke).encode(),
        "summary.json": json.dumps(SUMMARY).encode(),
        "metrics.parquet": _table(ROWS),
        "log.jsonl": json_lines(LOG),
    }
    spoilt = [
        _spoilt("summary.json", odd_tree([SUMMARY], JSON_VALUES).map(lambda tree: json.dumps(tree).encode())),
        _spoilt("summary.json", odd_bytes([right["summary.json"]], JSON_PIECES)),
        _spoilt(
            "log.jsonl", odd_tree([LOG], JSON_VALUES).map(json_lines) | odd_bytes([right["log.jsonl"]], JSON_PIECES)
        ),
        _spoilt(
            "metrics.parquet",
            odd_bytes([right["metrics.parquet"]]) | odd_tree([ROWS], [None, 0, -1, 0.5, "x"]).map(_table),
        ),
        _spoilt("recipe.yaml", odd_bytes([right["recipe.yaml"]], YAML_PIECES)),
        _spoilt(
            "owner.json",
            odd_tree([{"pid": 1, "host": "h", "since": 0.0}], JSON_VALUES).map(lambda tree: json.dumps(tree).encode()),
        ),
        _spoilt(
            "cluster.json",
            odd_tree([{"address": "127.0.0.1:1", "auth": "token"}], JSON_VALUES).map(
                lambda tree: json.dumps(tree).encode()
            ),
        ),
    ]

    def visit(files: dict[str, bytes], command: tuple[str, ...]) -> Visit:
        folders = {f"one/{name}": content for name, content in (right | files).items()}
        folders |= {f"two/{name}": content for name, content in right.items()}
        return Visit(command, folders)

    return st.builds(visit, st.one_of(spoilt), st.sampled_from(COMMANDS))


def _spoilt(name: str, contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[dict[str, bytes]]:
    return contents.map(lambda content: {name: content})


def _table(rows: Any) -> bytes:
    file = io.BytesIO()
    rows = [row for row in rows if isinstance(row, dict)]
    try:
        pq.write_table(pa.Table.from_pylist(rows or [{}]), file)
    except (pa.ArrowException, UnicodeError):
        return b""
    return file.getvalue()
