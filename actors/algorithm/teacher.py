"""Teachers of on-policy distillation: models that score the tokens which the policy itself wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from curriculum.strict import Strict


class Teacher(Strict):
    """A model of another folder, with the policy's tokenizer, and what its judgement on a token weighs."""

    path: Path = Field(description="a Hugging Face folder of the policy's family, with the same tokenizer")
    weight: float = Field(1.0, ge=0, description="of its advantage, which is added to that of the rewards")
    families: tuple[str, ...] = Field(
        (), description="of tasks that it teaches; all that no other teacher names, where left out"
    )

    @property
    def folder(self) -> str:
        """The absolute path of the folder."""
        return str(self.path.absolute())


def as_list(value: Any) -> Any:
    """One teacher as a list of one."""
    return [value] if isinstance(value, dict | Teacher) else value


def check_families(teachers: Sequence[Teacher]) -> None:
    """Raises ValueError: two teachers would teach the same family."""
    general = [teacher for teacher in teachers if not teacher.families]
    if len(general) > 1:
        raise ValueError(
            f"teacher: {general[0].path} and {general[1].path} both teach every family: name the families of one"
        )
    named = [family for teacher in teachers for family in teacher.families]
    twice = next((family for family in named if named.count(family) > 1), None)
    if twice:
        raise ValueError(f"teacher: two teachers have the family {twice!r}: leave it out of one")


def teacher_of(family: str, teachers: Sequence[Teacher]) -> Teacher | None:
    """The teacher of a family of tasks: the one that names it, else the one that names none; None without either."""
    for teacher in teachers:
        if family in teacher.families:
            return teacher
    return next((teacher for teacher in teachers if not teacher.families), None)
