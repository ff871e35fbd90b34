"""Training checks its task set before it starts."""

from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.run.prepare import prepare
from tests.support.task_sets import with_faults

ROOT = Path(__file__).parents[3]


def recipe_for(folder: Path, *settings: str):
    return load_recipe(
        ROOT / "recipes/smoke.yaml",
        [
            f"data={{tasks: {folder}}}",
            "model.tiny.vision_steps=0",
            "stages.sft.tasks={binary: 1, diagnosis: 1}",
            *settings,
        ],
    )


def test_training_refuses_a_bad_set_in_one_line(clean_set, tmp_path_factory, tmp_path):
    folder = with_faults(clean_set, tmp_path_factory)
    with pytest.raises(UserError) as caught:
        prepare(recipe_for(folder), tmp_path)
    line = str(caught.value)
    assert "\n" not in line and "row 1 (0-based)" in line and "question: is empty" in line and "2 more bad rows" in line
    assert f"curlvpr data check {folder}" in line and "data.drop_bad_rows=true" in line


def test_training_drops_bad_rows_where_told_and_counts_them(clean_set, tmp_path_factory, tmp_path):
    folder = with_faults(clean_set, tmp_path_factory)
    prepared = prepare(recipe_for(folder, "data.drop_bad_rows=true"), tmp_path)
    assert prepared.dropped == {"question": 1, "image": 1, "duplicate id": 1, "special token": 1}
    kept = [task.id for tasks in prepared.tasks.values() for task in tasks]
    gone = {1, 6, 12, 15}
    assert sorted(kept) == sorted(row["id"] for n, row in enumerate(clean_set[1]) if n not in gone)


def test_training_checks_tokens_too(clean_set, tmp_path):
    with pytest.raises(UserError, match="row .* the prompt has .* tokens"):
        prepare(recipe_for(clean_set[0], "rollout.max_model_tokens=100"), tmp_path)


def test_training_on_a_clean_set_drops_nothing(clean_set, tmp_path):
    prepared = prepare(recipe_for(clean_set[0]), tmp_path)
    assert not prepared.dropped and sum(map(len, prepared.tasks.values())) == len(clean_set[1])
