"""Training checks its task set before it starts."""

import re
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


def test_training_checks_tokens_too_and_names_the_settings_that_would_fit(clean_set, tmp_path):
    rows = len(clean_set[1])
    settings = ["rollout.max_model_tokens=150", "model.min_pixels=784"]
    with pytest.raises(UserError, match="row .* the prompt has .* tokens") as caught:
        prepare(recipe_for(clean_set[0], *settings), tmp_path)
    told = re.search(r"; rows that are too long would fit: (.*), (rollout.*)", str(caught.value))
    assert "model.max_pixels=" in told[1] and told[2].endswith(f" keeps {rows} of {rows}")
    said = []
    with pytest.raises(UserError, match="no task of family 'single_choice'"):  # all of them are too long
        prepare(recipe_for(clean_set[0], *settings, "data.drop_bad_rows=true"), tmp_path, said.append)
    assert told[0].removeprefix("; ") in said
    for setting in (told[1].split()[0], told[2].split()[0]):
        assert not prepare(recipe_for(clean_set[0], *settings, setting), tmp_path).dropped


def test_training_on_a_clean_set_drops_nothing(clean_set, tmp_path):
    prepared = prepare(recipe_for(clean_set[0]), tmp_path)
    assert not prepared.dropped and sum(map(len, prepared.tasks.values())) == len(clean_set[1])


def test_a_tiny_model_is_compared_with_its_teacher_once_it_is_made(clean_set, tiny_model, tmp_path):
    """The teacher's tokenizer was trained on other texts; the model that it is compared with, on these."""
    teacher = "stages.closed.training.teacher={path: %s}"
    with pytest.raises(UserError) as caught:
        prepare(recipe_for(clean_set[0], teacher % tiny_model), tmp_path / "refused")
    line = str(caught.value)
    assert line.startswith(f"stages.closed.training.teacher.path: {tiny_model}: its tokenizer is not the policy's")
    made = tmp_path / "refused" / "base"
    prepared = prepare(recipe_for(clean_set[0], "model.tiny.hidden=64", teacher % made), tmp_path / "smaller")
    assert prepared.model == tmp_path / "smaller" / "base"


def test_a_stage_whose_sources_lack_its_families_is_refused(clean_set, tmp_path):
    source = f"{{name: films, tasks: {clean_set[0]}}}, {{name: views, tasks: {clean_set[0]}, families: [report]}}"
    with pytest.raises(
        UserError, match=r"stages\.sft\.sources: views have no train task of family 'binary'; they have report"
    ):
        prepare(recipe_for(clean_set[0], f"data={{sources: [{source}]}}", "stages.sft.sources=[views]"), tmp_path)
    prepared = prepare(recipe_for(clean_set[0], f"data={{sources: [{source}]}}"), tmp_path)
    assert sum(map(len, prepared.tasks.values())) > len(clean_set[1])


def test_a_source_that_vetoes_has_validation_tasks_of_the_measure_and_counts_for_no_gate(clean_set, tmp_path):
    def sources(home, away):
        described = (
            f"{{name: {name}, tasks: {clean_set[0]}{more}}}" for name, more in (("home", home), ("away", away))
        )
        veto = "checkpoint.best.veto={source: away}"
        return recipe_for(clean_set[0], f"data={{sources: [{', '.join(described)}]}}", veto)

    words = r"^checkpoint\.best\.veto\.source: away: open_micro_f1 is of tasks whose answers are names; none"
    with pytest.raises(UserError, match=words):
        prepare(sources("", ", families: [binary]"), tmp_path)
    with pytest.raises(UserError, match=r"the val split has no task of family 'binary'"):
        prepare(sources(", splits: [train, test]", ", splits: [val]"), tmp_path)
    assert prepare(sources("", ", splits: [val]"), tmp_path)


@pytest.mark.parametrize(
    "settings, words",
    [
        (["checkpoint.best.measure=open_micro_f1"], None),
        (["stages.sft.gate.families=[report]"], "stages.sft.gate.families: 'report' is no family that is asked"),
        (["stages.sft.gate.families=[diagnosis]"], "'diagnosis' is no family that is asked and has letters as answers"),
        (["stages.sft.gate.floors.recall={Kyphosis: 0.1}"], "no open validation task that is asked shows 'Kyphosis'"),
        (["stages.open.forget={}"], None),
    ],
)
def test_a_gate_that_could_never_be_measured_is_refused(clean_set, tmp_path, settings, words):
    if words is None:
        assert prepare(recipe_for(clean_set[0], *settings), tmp_path)
        return
    with pytest.raises(UserError, match=words):
        prepare(recipe_for(clean_set[0], *settings), tmp_path)
