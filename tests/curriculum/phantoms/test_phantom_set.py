from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from curriculum.phantoms.hospital import AWAY, HOSPITALS
from curriculum.phantoms.phantom import FINDINGS, draw_phantom
from curriculum.phantoms.phantom_set import PhantomConfig, describe, draw_phantom_set
from curriculum.sets.mapped import hold_tasks
from curriculum.sets.overlap import overlaps
from curriculum.sets.task_table import Part, TaskTable


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return list(draw_phantom_set(PhantomConfig(train=5, val=2, test=3, seed=4), tmp_path_factory.mktemp("set")))


def test_every_film_gets_one_task_of_each_family(tasks):
    families = ["binary", "single_choice", "multiple_choice", "diagnosis", "report"]
    assert [task.family for task in tasks] == families * 10
    assert Counter(task.split for task in tasks) == {"train": 25, "val": 10, "test": 15}
    assert all(len({task.images for task in tasks[n : n + 5]}) == 1 for n in range(0, 50, 5))
    assert len({task.patient for task in tasks}) == len({task.images for task in tasks}) == 10


def test_films_and_gold_are_those_of_the_phantoms(tasks):
    for index, task in enumerate(task for task in tasks if task.family == "diagnosis"):
        phantom = draw_phantom(4, index)
        assert task.gold == tuple(phantom.sides)
        with Image.open(task.images[0]) as image:
            assert np.array_equal(np.asarray(image), phantom.pixels)


def test_the_seed_decides_and_the_folder_does_not_matter(tasks, tmp_path):
    again = list(draw_phantom_set(PhantomConfig(train=5, val=2, test=3, seed=4), tmp_path))
    for first, second in zip(tasks, again, strict=True):
        assert Path(first.images[0]).read_bytes() == Path(second.images[0]).read_bytes()
        assert second == first.model_copy(update={"images": second.images})
    other = draw_phantom_set(PhantomConfig(train=5, val=2, test=3, seed=5), tmp_path / "other")
    assert [task.gold for task in other] != [task.gold for task in tasks]


def test_a_writer_who_overlooks_findings_marks_them_absent(tmp_path):
    config = PhantomConfig(train=60, val=1, test=1, trace_recall=0.3)
    diagnoses = [task for task in draw_phantom_set(config, tmp_path) if task.family == "diagnosis"]
    present = [(task, name) for task in diagnoses for name in task.gold]
    noticed = sum(f"{name} ✅" in task.reference for task, name in present)
    assert 0.1 < noticed / len(present) < 0.5
    assert all(f"{name} ✅" in task.reference or f"{name} ❌" in task.reference for task, name in present)


def test_each_sentence_says_one_thing():
    sentences = [describe(name, present) for name in FINDINGS for present in (True, False)]
    assert len(set(sentences)) == len(sentences) and describe("Mass", True) == "Mass: a large shadow."


def test_another_hospital_has_other_patients_and_films_and_the_same_questions(tasks, tmp_path):
    away = list(draw_phantom_set(PhantomConfig(train=5, val=2, test=3, seed=4, hospital="away"), tmp_path))
    assert [(t.family, t.form, t.split) for t in away] == [(t.family, t.form, t.split) for t in tasks]
    assert {task.question for task in away if task.family == "diagnosis"} == {
        task.question for task in tasks if task.family == "diagnosis"
    }
    assert not {task.patient for task in away} & {task.patient for task in tasks}
    for index, task in enumerate(task for task in away if task.family == "diagnosis"):
        phantom = draw_phantom(4, index, AWAY)
        assert task.gold == tuple(phantom.sides) and task.reference
        with Image.open(task.images[0]) as image:
            assert image.size == (AWAY.size, AWAY.size) and np.array_equal(np.asarray(image), phantom.pixels)
    assert [task.gold for task in away] != [task.gold for task in tasks]


def test_sets_of_two_hospitals_may_be_the_sources_of_one_run(tasks, tmp_path):
    """Neither a patient nor a film of one is taken for one of the other."""
    parts = []
    for name in HOSPITALS:
        config = PhantomConfig(train=20, val=20, test=20, hospital=name)
        parts.append(Part(name, hold_tasks(draw_phantom_set(config, tmp_path / name))))
    assert overlaps(TaskTable(parts, np.arange(sum(len(part.tasks) for part in parts)))) == {}


def test_no_other_hospital_is_known():
    with pytest.raises(ValidationError, match="'home' or 'away'"):
        PhantomConfig(hospital="elsewhere")
