"""Whether the present version is worth a commit, by the commits that are there."""

from types import SimpleNamespace

import pytest

from actors.runtime.storage import POLICY
from cluster.config.recipe_file import load_recipe
from cluster.measures import Scores
from cluster.run.choice.best_versions import BestVersions
from tests.support.results import closed, opened
from tests.support.short_run import SMOKE


def named(number, right):
    return opened(number, ("Mass",), "Mass" if right else "Edema")


class Simulated:
    """The versions of a run: each validation has so many right answers of 40, closed and open."""

    def __init__(self, path, *settings):
        recipe = load_recipe(SMOKE, settings)
        self.position = SimpleNamespace(step=0, version=0)
        context = SimpleNamespace(recipe=recipe, position=self.position, writer=SimpleNamespace(path=path))
        self.versions = BestVersions(context)
        self.stages = {stage.name: stage for stage in recipe.stages}
        self.asked = []

    def validated(self, stage, closed_right, open_right=0, ends=False):
        """Whether this version is committed, since it is one of the best; the last of a stage is in any case."""
        self.position.step += 1
        self.position.version += 2

        def scores(measure, families):
            self.asked.append(measure)
            made, right = (closed, closed_right) if measure == "closed_accuracy" else (named, open_right)
            return Scores([made(i, i < right) for i in range(40)], 200)

        record, answers = SimpleNamespace(steps=self.position.step), SimpleNamespace(scores=scores)
        self.versions.judge(self.stages[stage], record, answers)
        is_best = self.versions.is_best
        if ends:
            self.versions.stage_ended(self.stages[stage], answers)
        if is_best or ends:
            self.commit(stage)
        return is_best

    def commit(self, stage):
        checkpoints = self.versions.checkpoints
        folder = checkpoints.begin(self.position.step)
        with folder.workspace() as part:
            (part / POLICY).write_bytes(b"weights")
            digests = folder.take_in(part)
        checkpoints.commit(folder, digests, {}, stage, self.versions.present())

    @property
    def kept(self):
        return [version.step for version in self.versions.checkpoints.versions() if version.validation]


def test_a_version_is_committed_if_it_is_better_than_all_before_in_its_stage(tmp_path):
    run = Simulated(tmp_path, "checkpoint.keep=1")
    assert [run.validated("sft", right) for right in (5, 4, 5, 9, 8)] == [True, False, False, True, False]
    assert run.validated("closed", 1), "another stage begins anew"
    assert run.kept == [4, 6] and run.asked == ["closed_accuracy"] * 6, "nobody looked back: no form was asked twice"


def test_as_many_as_are_to_be_kept_are_committed(tmp_path):
    run = Simulated(tmp_path, "checkpoint.keep=1", "checkpoint.best.keep=2")
    assert [run.validated("sft", right) for right in (5, 9, 4, 7, 6)] == [True, True, False, True, False]
    assert run.kept == [2, 4]


def test_a_version_that_lost_an_earlier_stage_is_worse_than_one_that_did_not(tmp_path):
    """The closed tasks fall from 30 of 40 to 10 beyond any doubt, to 29 within the interval."""
    run = Simulated(tmp_path, "checkpoint.keep=1")
    run.validated("closed", 30, ends=True)
    assert run.validated("open", 10, 20) and run.versions.validation.lost["closed"][0] == pytest.approx(-0.5)
    assert run.validated("open", 29, 15) and not run.versions.validation.lost
    assert not run.validated("open", 10, 30), "the best score, but it lost the most"
    assert run.validated("open", 30, 16)
    assert run.kept == [1, 5]


def test_earlier_stages_are_asked_only_of_what_may_be_the_best_and_only_if_that_decides(tmp_path):
    run = Simulated(tmp_path / "best", "checkpoint.keep=1")
    run.validated("closed", 30, ends=True)
    run.asked.clear()
    run.validated("open", 30, 20)
    assert set(run.asked) == {"closed_accuracy", "open_micro_f1"}
    run.asked.clear()
    run.validated("open", 30, 10)
    assert set(run.asked) == {"open_micro_f1"}
    last = Simulated(tmp_path / "last", "checkpoint.export=last")
    last.validated("closed", 30, ends=True)
    last.asked.clear()
    last.validated("open", 30, 20)
    assert set(last.asked) == {"open_micro_f1"}


def test_a_stage_with_a_guard_looks_back_at_every_evaluation(tmp_path):
    run = Simulated(tmp_path, "stages.closed.forget={drop: 0.1}", "checkpoint.export=last")
    run.validated("sft", 30, ends=True)
    run.validated("closed", 30)
    assert run.versions.changes == {"sft": (0, 0, 0)}
    run.validated("closed", 10)
    assert run.versions.changes["sft"][0] == pytest.approx(-0.5) and run.versions.changes["sft"][2] < -0.1


def test_stages_may_be_ranked_by_one_measure_of_the_recipe(tmp_path):
    run = Simulated(tmp_path, "checkpoint.best.measure=open_micro_f1")
    assert [run.validated("closed", right, 40 - right) for right in (5, 9, 3)] == [True, False, True]
    assert run.versions.validation.measure == "open_micro_f1"


def test_without_best_versions_nothing_more_is_committed(tmp_path):
    run = Simulated(tmp_path, "checkpoint={best: {keep: 0}, export: last}")
    assert not run.validated("sft", 5) and not run.validated("open", 5, 9)


def test_the_ends_of_stages_are_known_after_a_resume_and_the_version_is_not(tmp_path):
    run = Simulated(tmp_path)
    run.validated("closed", 30, ends=True)
    assert run.versions.present().step == 1
    resumed = Simulated(tmp_path)
    resumed.versions.load_state_dict(run.versions.state_dict())
    assert resumed.versions.ends == run.versions.ends and resumed.versions.present() is None
    resumed.versions.load_state_dict({})
    assert resumed.versions.ends == {}
    run.position.step += 1
    assert run.versions.present() is None, "another version was not validated"
