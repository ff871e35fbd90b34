"""The sources of a run's tasks, as a recipe names them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt

from curriculum.strict import Strict
from curriculum.task import Split


class Source(Strict):
    """A task set among several."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="in scores and before the ids of its tasks")
    tasks: Path = Field(description="a task set: its Parquet file, or its folder")
    weight: float = Field(1.0, gt=0, description="how much is drawn from it, relative to the others")
    families: tuple[str, ...] = Field((), description="families of tasks that are used; all where left out")
    splits: tuple[Split, ...] = Field((), description="splits that are used; all where left out")
    limit: PositiveInt | None = Field(None, description="at most so many of its train tasks, the same in every run")
