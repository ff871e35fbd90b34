"""Rows for the `curlvpr reward` commands, and a way to call these."""

from pathlib import Path

import pytest
import yaml

from cluster.cli.app import main

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


OPTIONS = {"A": "Mass", "B": "Edema", "C": "Nodule"}


TRACE = (
    "<think>No mass.</think><answer>A ❌</answer><think>There is edema.</think><answer>B ✅</answer>"
    "<think>No nodule.</think><answer>C ❌</answer><think>So.</think><answer>B ✅</answer>"
)


CLOSED = {"domain": "closed", "question": "Which finding?", "options": OPTIONS, "gold": ["B"], "reference": TRACE}


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["curlvpr", "reward", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def answer(text):
    return f"<think>It is so.</think><answer>{text}</answer>"


def recipe_of(tmp_path, **rules):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"reward": {"rules": rules}}))
    return path
