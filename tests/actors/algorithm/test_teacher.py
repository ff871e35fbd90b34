"""Who teaches which family, and settings that make no sense."""

import pytest
from pydantic import ValidationError

from actors.algorithm.config import GrpoTraining
from actors.algorithm.teacher import teacher_of

A, B, C = ({"path": name} for name in "abc")


def test_the_teacher_that_names_a_family_comes_before_the_one_that_names_none():
    teachers = GrpoTraining(teacher=[A, B | {"families": ["diagnosis"]}]).teacher
    assert [teacher_of(family, teachers).path.name for family in ("binary", "diagnosis")] == ["a", "b"]
    assert teacher_of("binary", teachers[1:]) is None
    assert GrpoTraining(teacher=A).teacher == GrpoTraining(teacher=[A]).teacher
    assert teachers[0].folder.startswith("/")


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"teacher": [A, B]}, "a and b both teach every family"),
        ({"teacher": [A | {"families": ["x"]}, B | {"families": ["y", "x"]}]}, "two teachers have the family 'x'"),
        ({"reward_weight": 0.5}, "reward_weight: 0.5 weighs the rewards against a teacher"),
        ({"teacher": A, "dynamic_sampling": 2}, "set dynamic_sampling to 0"),
        ({"reference_path": "a"}, "set kl above 0"),
        ({"reference_path": "a", "kl": 0.1, "reference": "keep"}, "leave one of them out"),
        ({"teacher": A, "group_size": 1}, "group_size must be at least 2"),
        ({"teacher": A | {"weight": -1}}, "greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_refused(keys, words):
    with pytest.raises(ValidationError, match=words):
        GrpoTraining(**keys)


def test_distillation_alone_needs_no_group():
    training = GrpoTraining(teacher=A, reward_weight=0, group_size=1)
    assert training.teaches and not GrpoTraining(teacher=A | {"weight": 0}, dynamic_sampling=2).teaches
