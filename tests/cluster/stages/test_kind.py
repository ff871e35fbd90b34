"""Stage kinds: how a recipe names them, and one that is added from outside."""

import importlib
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ValidationError

from actors.algorithm.config import GrpoTraining, Optimisation, SftTraining
from actors.learner.orders import UpdateResult
from actors.learner.sft_update import SftUpdate
from cluster.config.recipe_file import parse_recipe
from cluster.errors import UserError
from cluster.record.console import step_words
from cluster.stages import STAGE_KINDS, GrpoStage, SftStage, StageKind
from cluster.stages.kind import StepRun
from cluster.stages.row import StepRow

GATE = {"measure": "closed_accuracy", "max_steps": 10}


def recipe(**stage: Any) -> Any:
    return parse_recipe(
        {
            "name": "kinds",
            "data": {"phantoms": {"train": 4, "val": 2, "test": 2}},
            "model": {"tiny": {}},
            "stages": [{"name": "first", "tasks": {"binary": 1}, "gate": GATE, **stage}],
        },
        "kinds.yaml",
    )


class ReplayStage(StageKind):
    """Supervised learning on half as many tasks as it is told: a kind that the project does not have."""

    kind: Literal["replay"]
    training: SftTraining = SftTraining()
    half: bool = True

    label: ClassVar[str] = "replay"
    teaches_from_gold: ClassVar[bool] = True

    @property
    def tasks_per_step(self) -> int:
        return self.training.tasks_per_step // 2 if self.half else self.training.tasks_per_step

    def step(self, run: StepRun) -> UpdateResult:
        tasks = run.draw(self.tasks_per_step)
        return run.learn(SftUpdate(tasks, run.lr))

    @staticmethod
    def headline(row: StepRow) -> str:
        return f"replayed {row['loss']:.2f}"


def test_a_kind_from_outside_is_one_class_and_one_line(monkeypatch):
    monkeypatch.setitem(STAGE_KINDS, "replay", ReplayStage)
    made = recipe(kind="replay", training={"tasks_per_step": 16})
    (stage,) = made.stages
    assert isinstance(stage, ReplayStage) and stage.tasks_per_step == 8
    assert parse_recipe(made.model_dump(mode="json"), "again").stages == made.stages
    row = {"stage": "first", "stage_step": 1, "max_steps": 10, "kind": "replay", "loss": 1.25, "tokens_per_s": 100.0}
    assert step_words(row) == "first    1/10  replayed 1.25  100 tok/s"


def test_its_settings_are_checked_as_those_of_other_kinds(monkeypatch):
    monkeypatch.setitem(STAGE_KINDS, "replay", ReplayStage)
    with pytest.raises(UserError, match=r"stages\.0\.hlaf: unknown key; did you mean 'half'\?"):
        recipe(kind="replay", hlaf=False)


def test_an_unknown_kind_is_named_with_those_that_there_are():
    known = ", ".join(repr(name) for name in STAGE_KINDS)
    with pytest.raises(
        UserError, match=rf"kinds.yaml: stages\.0\.kind: unknown kind, one of {known} is needed, found 'ppo'"
    ):
        recipe(kind="ppo")


@pytest.mark.parametrize("kind", [{}, ["grpo"], None, 1])
def test_a_kind_that_is_no_text_is_unknown(kind):
    with pytest.raises(UserError, match=r"kinds.yaml: stages\.0\.kind: unknown kind, one of"):
        recipe(kind=kind)


def test_a_stage_without_a_kind_is_named():
    with pytest.raises(UserError, match=r"kinds.yaml: stages\.0\.kind: is missing"):
        recipe()


@pytest.mark.parametrize(
    "stage, path",
    [
        ({"kind": "sft", "training": {"group_size": 2}}, r"stages\.0\.training\.group_size: unknown key"),
        (
            {"kind": "grpo", "training": {"group_sise": 2}},
            r"stages\.0\.training\.group_sise: unknown key; did you mean 'group_size'",
        ),
        ({"kind": "grpo", "training": {"lr": -1}}, r"stages\.0\.training\.lr: input should be greater than 0"),
    ],
)
def test_faults_within_a_stage_are_told_by_their_path(stage, path):
    with pytest.raises(UserError, match=path):
        recipe(**stage)


def test_what_kinds_say_of_themselves():
    sft = SftStage.model_validate({"name": "a", "kind": "sft", "tasks": {"binary": 1}, "gate": GATE})
    training = {"kl": 0.1, "updates_per_step": 2, "group_size": 4, "max_staleness": 1, "correction": "token"}
    grpo = GrpoStage.model_validate(
        {"name": "b", "kind": "grpo", "tasks": {"binary": 1}, "gate": GATE, "training": training}
    )
    assert (sft.generates, sft.teaches_from_gold, sft.needs_reference, sft.updates_per_step) == (False, True, False, 1)
    assert (grpo.generates, grpo.teaches_from_gold, grpo.needs_reference) == (True, False, True)
    assert (grpo.updates_per_step, grpo.group_size, grpo.max_staleness) == (2, 4, 1)
    assert (grpo.keeps_optimiser, grpo.keeps_reference) == (False, False)


def test_a_kind_without_a_step_cannot_be_made():
    class NoStep(StageKind):
        kind: Literal["none"]
        training: Optimisation = GrpoTraining()

    with pytest.raises((TypeError, ValidationError)):
        NoStep(name="a", kind="none", tasks={"binary": 1}, gate=GATE)


def test_the_kind_of_the_documentation(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = re.search(r"```python\n(# short_traces\.py\n.*?)```", page, re.DOTALL)[1]
    (tmp_path / "short_traces.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("short_traces").ShortTracesStage
    monkeypatch.setitem(STAGE_KINDS, "short_traces", kind)
    (stage,) = recipe(kind="short_traces", max_characters=50).stages
    assert isinstance(stage, kind) and (stage.max_characters, stage.teaches_from_gold) == (50, True)
    assert stage.headline({"loss": 0.5}) == "loss 0.500 on short traces"
