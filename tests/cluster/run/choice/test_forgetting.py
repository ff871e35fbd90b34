"""What is done about a fall in an earlier stage's measure."""

from types import SimpleNamespace

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.record.validation import Validation
from cluster.run.choice.forgetting import Forgetting
from curriculum.stages import Curriculum
from tests.support.short_run import SMOKE

FALLEN, HALFWAY, FINE = (-0.3, -0.4, -0.2), (-0.15, -0.2, -0.05), (0.0, -0.1, 0.1)


class Run:
    """The stage open of the smoke recipe (rehearsal 0.25 of binary), with a guard, and commits that are told."""

    def __init__(self, forget, commits=(), stage="open"):
        recipe = load_recipe(SMOKE, [f"stages.{stage}.forget={forget}"])
        self.curriculum = Curriculum(recipe.stages)
        self.curriculum.position = [config.name for config in recipe.stages].index(stage)
        self.curriculum.record.steps = 40
        self.position = SimpleNamespace(step=100)
        self.said = []
        display = SimpleNamespace(say=self.said.append)
        context = SimpleNamespace(recipe=recipe, position=self.position, curriculum=self.curriculum, display=display)
        checkpoints = SimpleNamespace(versions=lambda: list(commits))
        self.recovery = SimpleNamespace(
            checkpoints=checkpoints, roll_backs=0, roll_back=self.roll_back, lower_learning_rate=self.lower
        )
        self.summary = SimpleNamespace(forgetting=[])
        self.guard = Forgetting(context, self.recovery, self.summary)

    def roll_back(self, why, before):
        self.position.step = before
        self.summary.forgetting = []  # as a commit has it

    def lower(self):
        self.recovery.roll_backs += 1
        return 0.1**self.recovery.roll_backs

    def sees(self, change):
        """Whether an evaluation with this change of the stage closed sends the run back."""
        return self.guard.undo(self.curriculum.stage, self.curriculum.record, {"closed": change})

    @property
    def share(self):
        return self.curriculum.stage.rehearsal


def test_rehearsal_rises_to_its_bound_and_comes_back_when_what_was_lost_is_there_again():
    run = Run("{drop: 0.1, up_to: 0.6}")
    shares = []
    for change in (FINE, FALLEN, FALLEN, FALLEN, HALFWAY, FINE, FINE, FINE):
        assert not run.sees(change)
        shares.append(run.share)
    assert shares == pytest.approx([0.25, 0.5, 0.6, 0.6, 0.6, 0.3, 0.25, 0.25])
    assert run.curriculum.stage.mixture == pytest.approx({"diagnosis": 0.75, "binary": 0.25})
    did = [event["did"] for event in run.summary.forgetting]
    assert did == [
        "rehearsal 25% → 50%",
        "rehearsal 50% → 60%",
        "rehearsal has its largest share already",
        "rehearsal 60% → 30%",
        "rehearsal 30% → 25%",
    ]
    assert run.summary.forgetting[0] == {
        "stage": "open",
        "step": 100,
        "stage_step": 40,
        "why": "stage closed lost 0.300 [0.200, 0.400] since its end, more than 0.1",
        "did": "rehearsal 25% → 50%",
    }
    assert run.said[0].endswith("more than 0.1: rehearsal 25% → 50%") and len(run.said) == len(did)


def test_a_stage_that_rehearses_nothing_takes_the_questions_of_those_before():
    run = Run("{drop: 0.1}", stage="closed")
    run.sees(FALLEN)
    assert run.share == 0.1 and run.curriculum.stage.rehearse == {"binary": 1, "single_choice": 1, "diagnosis": 1}
    run.sees(FINE)
    assert run.share == 0 and run.curriculum.stage.mixture == {"binary": 0.5, "single_choice": 0.5}


def test_a_stage_that_has_ended_changes_nothing_any_more():
    run = Run("{drop: 0.1}")
    run.curriculum.record.reason = "maximum"
    run.sees(FALLEN)
    assert run.share == 0.25 and run.summary.forgetting[0]["did"] == "nothing is done"


def test_a_warning_is_only_that():
    run = Run("{drop: 0.1, do: warn}")
    assert not run.sees(FALLEN) and not run.sees(FINE)
    assert run.share == 0.25 and [event["did"] for event in run.summary.forgetting] == ["nothing is done"]


def commit(step, value=None, stage="open", lost=None, whole=True):
    score = value and Validation(stage, step, step - 60, step, "open_micro_f1", (value, 0, 1), lost or {})
    return SimpleNamespace(step=step, whole=whole, stage=stage, validation=score)


@pytest.mark.parametrize(
    "commits, step",
    [
        ([commit(70, 0.4), commit(80, 0.6), commit(90, 0.5)], 80),
        ([commit(70, 0.4), commit(80, 0.6, lost={"closed": FALLEN}), commit(90, 0.3)], 70),
        ([commit(70, 0.4, lost={"closed": HALFWAY}), commit(95)], 70),
        ([commit(60, 0.7, "closed"), commit(80, 0.6, lost={"closed": FALLEN})], 60),
        ([commit(50, 0.7, "closed", whole=False), commit(60), commit(100, 0.9)], 60),
    ],
    ids=["the best", "not one that lost it", "one that lost less", "before the stage", "not validated"],
)
def test_the_run_goes_back_to_the_best_commit_that_had_not_lost_it(commits, step):
    run = Run("{drop: 0.1, do: roll_back}", commits)
    assert run.sees(FALLEN) and run.position.step == step
    (event,) = run.summary.forgetting
    assert event["step"] == 100 and event["did"].startswith(f"back from step 100 to step {step}, with the recipe's")


def test_after_three_roll_backs_and_without_a_commit_it_only_warns():
    run = Run("{drop: 0.1, do: roll_back}", [commit(70, 0.4)])
    for _ in range(3):
        run.position.step = 100
        assert run.sees(FALLEN)
    run.position.step = 100
    assert not run.sees(FALLEN) and run.summary.forgetting[-1]["did"].endswith("the run was rolled back 3 times")
    bare = Run("{drop: 0.1, do: roll_back}", [commit(95)])
    assert not bare.sees(FALLEN) and bare.said[-1].endswith("nothing is done: no commit from before is kept")
