"""`curlvpr data traces`: asks a writer until the verifier accepts a trace of each task, and writes a task set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from actors.runtime.files import disk_words, is_no_space
from cluster.errors import UserError, one_line
from cluster.outputs import check_file, told
from cluster.signals import current
from cluster.standalone.traces.journal import Journal
from cluster.standalone.traces.judge import Judge
from cluster.standalone.traces.outcomes import Outcome
from cluster.standalone.traces.summary import TraceSummary
from cluster.terminal import rich_table
from curriculum.images import ImageError
from curriculum.sets.mapped import Spread
from curriculum.task import Task
from curriculum.taskset import TaskSetError, read_tasks, write_tasks
from rewards.calls.chat import Refused
from rewards.traces.verifier import VerifierConfig
from rewards.traces.writer import Ask, TraceWriter

Log = Callable[[str], None]
LOG_EVERY_S = 10.0


@dataclass(frozen=True)
class TracePlan:
    """What is wanted.

    Attributes:
        tasks: the task set, file or folder.
        out: folder for the task set with traces.
        per_task: traces of a task at most.
        verifier: what a trace must reach.
        page: an HTML page to write, if any.
        images: whether the page shows films.
    """

    tasks: Path
    out: Path
    per_task: int = 1
    verifier: VerifierConfig = field(default_factory=VerifierConfig)
    page: Path | None = None
    images: bool = True


def find_tasks(path: Path) -> list[Task]:
    """The tasks of a set. Raises UserError if it cannot be read."""
    try:
        return read_tasks(path)
    except TaskSetError as error:
        raise UserError(str(error)) from error


def make_traces(
    plan: TracePlan, tasks: Sequence[Task], writer: TraceWriter, log: Log, spread: Spread | None = None
) -> TraceSummary:
    """Writes `out`/tasks.parquet: the tasks that have an accepted trace, with it as their reference, in their order.

    What was written before with the same settings is taken over from the journal in `out`. SIGTERM ends it once what is
    under way has come; then no task set is written, and the same command continues.

    Args:
        plan: what is wanted.
        tasks: those of the set.
        writer: who writes.
        log: is told how far it is.
        spread: who verifies what was there, and writes and verifies the traces of a writer that `runs_anywhere`; this
            process if None.

    Raises:
        UserError: nothing can be written, no trace was accepted, the writer's endpoint refuses all, or SIGTERM came.
    """
    if plan.page:
        check_file("--html", plan.page)
    outcomes = {task.id: Outcome(task) for task in tasks}
    with Journal(plan.out, writer.name, writer.settings) as journal:
        known = journal.read(tasks)
        if known:
            log(f"{journal.path}: {len(known):,} drafts were there already")
        judge = Judge(writer, plan.verifier, spread or map, journal.add)
        known.sort(key=lambda draft: draft.attempt)
        for draft, checks in judge.check((outcomes[draft.task_id].task, draft) for draft in known):
            outcomes[draft.task_id].add(draft, checks)
        with _stopping_gently(writer) as is_stopped:
            _ask(outcomes, judge, plan, log)
    if is_stopped():
        raise UserError(f"stopped as asked; the same command continues from {journal.path}")
    summary = TraceSummary(writer.name, list(outcomes.values()), plan.per_task)
    for table in summary.tables():
        Console(highlight=False).print(rich_table(table))
    if plan.page:
        _write_page(plan.page, plan, summary)
        log(f"page → {plan.page}")
    log(summary.conclusion())
    if not summary.accepted:
        reason = one_line(summary.main_reason())
        raise UserError(f"{plan.out}: no trace was accepted, so there is no task to write; most often: {reason}")
    _write(outcomes, plan)
    log(f"task set → {plan.out}")
    return summary


@contextmanager
def _stopping_gently(writer: TraceWriter) -> Iterator[Callable[[], bool]]:
    """Lets SIGTERM stop the writer. Yields a function that tells whether it did."""
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        writer.stop()

    signals = current()
    if signals:
        signals.stop_gently = stop
    yield stopped.is_set
    if signals:
        signals.stop_gently = None


def _ask(outcomes: dict[str, Outcome], judge: Judge, plan: TracePlan, log: Log) -> None:
    """Asks for every task that has too few traces, round by round, as often as the writer may be asked.

    A round in which nobody answered is the last one.
    """
    writer = judge.writer
    done, lost, last = 0, 0, time.monotonic()
    for _ in range(writer.attempts):
        asks = [
            Ask(outcome.task, outcome.attempts)
            for outcome in outcomes.values()
            if outcome.wants_more(writer.attempts, plan.per_task)
        ]
        before = done
        try:
            for draft, checks in judge.write(asks) if asks else ():
                outcomes[draft.task_id].add(draft, checks)
                done += draft.is_answered
                lost += not draft.is_answered
                if time.monotonic() > last + LOG_EVERY_S:
                    last = time.monotonic()
                    accepted = sum(bool(outcome.accepted) for outcome in outcomes.values())
                    why = "" if draft.is_answered else f", the last: {one_line(draft.fault)}"
                    unanswered = f"; {lost:,} times no answer{why}" if lost else ""
                    log(f"{done:,} drafts, {accepted:,} of {len(outcomes):,} tasks have a trace{unanswered}")
        except Refused as error:
            raise UserError(f"{one_line(error)}; what was written before is kept") from error
        if done == before:
            return


def _write(outcomes: dict[str, Outcome], plan: TracePlan) -> None:
    traced: Sequence[Task] = [task for outcome in outcomes.values() for task in outcome.tasks(plan.per_task)]
    try:
        with told("--out", plan.out):
            write_tasks(traced, plan.out)
    except TaskSetError as error:
        if is_no_space(error.__cause__):
            raise UserError(f"{plan.out}: no space left on {disk_words(plan.out)}") from error
        raise UserError(str(error)) from error


def _write_page(page: Path, plan: TracePlan, summary: TraceSummary) -> None:
    from cluster.reporting.pages import render, thumbnail, write_page

    def film(path: str) -> tuple[str | None, str]:
        try:
            return thumbnail(path), ""
        except ImageError as error:
            return None, str(error)

    html = render(
        "traces.html.j2",
        name=plan.tasks.name,
        path=plan.out,
        summary=summary,
        images=plan.images,
        film=film if plan.images else None,
    )
    with told("--html", page):
        write_page(page, html)
