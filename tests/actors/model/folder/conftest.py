"""Model folders to spoil."""

import json
import os
import shutil

import pytest


def change_json(path, change):
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A copy of the tiny model's folder. Its weights are a link, so write no bytes into them: replace the file."""
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    os.link(tiny_model / "model.safetensors", copy / "model.safetensors")
    return copy
