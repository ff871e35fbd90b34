"""What all parts of a run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.config.recipe import Recipe
from cluster.record.console import Display
from cluster.record.ledger import Ledger
from cluster.record.run_writer import RunWriter
from cluster.record.timeline import Timeline
from cluster.run.evaluation import test_tasks
from cluster.run.progress.phases import PhaseClock
from cluster.run.progress.position import Position
from cluster.run.workers import Workers
from cluster.stages import StageKind
from curriculum.sampler import Sampler
from curriculum.sets.task_table import TaskTable
from curriculum.stages import Curriculum
from curriculum.task import Split, Task


@dataclass(frozen=True)
class RunContext:
    """One run: its recipe and tasks, its workers, its books, and where it writes and shows what it does.

    Attributes:
        tasks: by split.
        test_tasks: those of the test split that the run asks: some of every family that it tests.
    """

    recipe: Recipe
    tasks: Mapping[Split, TaskTable]
    test_tasks: Sequence[Task]
    workers: Workers
    writer: RunWriter
    display: Display
    position: Position
    curriculum: Curriculum[StageKind]
    sampler: Sampler
    ledger: Ledger
    timeline: Timeline
    phases: PhaseClock


def new_context(
    recipe: Recipe, tasks: Mapping[Split, TaskTable], workers: Workers, writer: RunWriter, display: Display
) -> RunContext:
    """The context of a run that has not made a step yet."""
    position, timeline = Position(), Timeline(writer.path)
    return RunContext(
        recipe=recipe,
        tasks=tasks,
        test_tasks=test_tasks(recipe, tasks),
        workers=workers,
        writer=writer,
        display=display,
        position=position,
        curriculum=Curriculum(recipe.stages),
        sampler=Sampler(tasks["train"], recipe.seed, recipe.data.mixing),
        ledger=Ledger(writer.path / "ledger.jsonl"),
        timeline=timeline,
        phases=PhaseClock(timeline, position),
    )
