"""A session of a run: from the recipe to the exit code, with one line for every expected fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from actors.runtime.files import disk_named, missing, remove_empty, write_fault
from actors.runtime.imports import imports_ahead
from actors.runtime.remote import RemoteFailure, ray_failure
from actors.runtime.storage import Storage
from cluster.config.recipe import Recipe
from cluster.control.ray_connection import ray_cluster
from cluster.control.run_actor import Control
from cluster.control.run_queue import wait_for_slot, worker_bundles
from cluster.errors import UserError, error_line, tell
from cluster.planning.adapter_way import remarks_on_adapters
from cluster.planning.model_check import remarks_on_models
from cluster.planning.run_space import check_sockets, remarks_on_space
from cluster.record.checkpoint import CheckpointError, run_checkpoints, run_storage
from cluster.record.console import Display, LoggedDisplay, clock, open_display
from cluster.record.lease import LeaseLost
from cluster.record.ownership import Ownership, own_run
from cluster.record.run_status import taken_words
from cluster.record.run_writer import RunWriter, recipe_text
from cluster.record.trackers import Trackers
from cluster.run.loop import Run
from cluster.run.prepare import prepare
from cluster.run.progress.summary import empty_summary
from cluster.run.workers import Workers
from cluster.signals import Signals, current, heed, is_ending


def start(recipe: Recipe, path: Path) -> int:
    """Trains in the new run folder `path` until the curriculum ends.

    Returns:
        0 if it came to its end or was asked to stop, 1 if it failed, 128 and a signal's number if that ended it (130
        for Ctrl-C); the summary says more.

    Raises:
        UserError: something the user gave cannot be used, or the folder exists. No run folder is left behind.
    """
    new_parents = missing(path.parent)
    try:
        path.mkdir(parents=True)
    except FileExistsError as error:
        raise UserError(taken_words(path)) from error
    except OSError as error:
        remove_empty(new_parents)
        raise UserError(f"the run folder cannot be made: {write_fault(error, path)}; see root and --name") from error
    except ValueError as error:
        remove_empty(new_parents)
        raise UserError(f"the run folder cannot be made: {str(path)!a}: {error}; see root and --name") from error
    with ExitStack() as owning:
        try:
            owned = owning.enter_context(own_run(recipe, path))
            _check_place_is_new(recipe, path)
            with _told(path):  # at once: a run that is killed from here on can be resumed
                Storage(str(path.absolute())).write("recipe.yaml", recipe_text(recipe).encode())
            return _execute(recipe, path, owned)
        except UserError:  # the folder is still this process's
            shutil.rmtree(path, ignore_errors=True)
            remove_empty(new_parents)  # one that another run uses by now stays
            raise


def resume(recipe: Recipe, path: Path, take_over: bool = False) -> int:
    """Trains on from the newest commit of the run folder `path`, or from the start if it has none.

    Args:
        take_over: do not wait for the silence of an owner on another machine.

    Returns:
        As `start`.

    Raises:
        UserError: another process owns the run, the run is complete, or its newest commit is damaged.
    """
    with own_run(recipe, path, take_over) as owned:
        return _resume(recipe, path, owned)


def _check_place_is_new(recipe: Recipe, path: Path) -> None:
    """Raises UserError: the place of a new run's commits holds those of another run."""
    checkpoints = run_checkpoints(recipe, path)
    if checkpoints.committed():
        raise UserError(
            f"checkpoint.storage: {checkpoints.storage} has the commits of another run; choose another --name, or "
            "resume that run in its own folder"
        )


def _resume(recipe: Recipe, path: Path, owned: Ownership) -> int:
    summary = path / "summary.json"
    if summary.is_file() and json.loads(summary.read_text(encoding="utf-8"))["status"] == "finished":
        raise UserError(f"{path}: this run is complete; its model is {path / 'model'}")
    checkpoints = run_checkpoints(recipe, path)
    try:
        commits = checkpoints.committed()
    except OSError as error:
        raise UserError(f"{checkpoints.storage} cannot be read: {error}") from error
    if not commits:
        return _execute(recipe, path, owned, resumed=True)
    try:
        state = checkpoints.load(commits[-1])
    except CheckpointError as error:
        older = f"; the one before is {commits[-2].name}" if len(commits) > 1 else ""
        raise UserError(f"{error}{older}. Remove the damaged folder to go on from what is left.") from error
    return _execute(recipe, path, owned, (commits[-1], state), resumed=True)


def _execute(
    recipe: Recipe,
    path: Path,
    owned: Ownership,
    commit: tuple[Storage, dict[str, Any]] | None = None,
    resumed: bool = False,
) -> int:
    """Runs to the end, or to where the run is stopped. Turns every expected fault into a line and an exit code."""
    with nullcontext(current()) if current() else (heed() or nullcontext()) as signals:
        return _execute_under(signals, recipe, path, owned, commit, resumed)


def _execute_under(
    signals: Signals | None,
    recipe: Recipe,
    path: Path,
    owned: Ownership,
    commit: tuple[Storage, dict[str, Any]] | None,
    resumed: bool,
) -> int:
    display = open_display(path.name)
    run: Run | None = None
    try:
        check_sockets()
        remarks = remarks_on_models(recipe)  # a model that cannot be trained is refused before Ray is started
        remarks = (*remarks, *remarks_on_adapters(recipe), *remarks_on_space(recipe, path))
        for line in (f"run folder {path}", *remarks):
            display.say(line)
        with ExitStack() as stack:
            with imports_ahead():
                dashboard = stack.enter_context(ray_cluster(recipe.roles, display.say))
            if dashboard:
                display.say(f"Ray dashboard http://{dashboard}")
            with open_run(recipe, path, display, owned.check) as run, _stops_at_sigterm(signals, run):
                run.recovery.confirm_owner = owned.confirm
                if resumed:
                    _restore(run, commit)
                summary = run.train()
        duration = clock(summary["seconds"]["all"])
        if summary["status"] == "stopped":
            display.say(f"stopped at step {run.position.step}, after {duration}; go on with: curlvpr resume {path}")
        else:
            display.say(f"finished in {duration}; model {path / 'model'}, summary {path / 'summary.json'}")
        return 0
    except LeaseLost as error:
        if run:
            run.abandon()
        run = None  # nothing of this folder is its to write
        tell(f"curlvpr: {error}")
        return 1
    except StoppedEarly:
        _write_early_summary(recipe, path, "stopped", "while it waited for room on the cluster")
        display.say(f"stopped before its workers were started; go on with: curlvpr resume {path}")
        return 0
    except RemoteFailure as error:
        return _end_early(run, recipe, path, display, "failed", str(error), 1)
    except OSError as error:  # a disk or a bucket
        why = f"{write_fault(error, path)}; go on with: curlvpr resume {path}"
        return _end_early(run, recipe, path, display, "failed", why, 1)
    except KeyboardInterrupt:
        return _interrupted(signals, run, recipe, path, display)
    except Exception as error:
        failure = ray_failure(error)
        if failure is None:
            raise
        return _end_early(run, recipe, path, display, "failed", failure, 1)
    finally:
        if run:
            _close(run, display)
            if not is_ending():  # it shall end soon; `curlvpr report` writes them
                write_pages(path, display)
        display.close()


def _close(run: Run, display: Display) -> None:
    """Closes the files of the run. What cannot be written any more does not hide how the run ended."""
    try:
        run.close()
    except OSError as error:
        display.say(f"the last numbers are lost: {write_fault(error, run.writer.path)}")


def _restore(run: Run, commit: tuple[Storage, dict[str, Any]] | None) -> None:
    if commit:
        folder, state = commit
        run.recovery.restore(folder, state)
        origin = f", from {folder.name}"
    else:
        run.recovery.restore(None, run.recovery.first_state)
        origin = ": none was committed"
    run.context.display.say(f"resumed at step {run.position.step}{origin}")


@contextmanager
def open_run(
    recipe: Recipe, path: Path, display: LoggedDisplay, check_owner: Callable[[], None] = lambda: None
) -> Iterator[Run]:
    """A run in the folder `path`, on workers that are up as long as the block lasts. Ray is connected already.

    From here on the display logs to the folder.

    Args:
        check_owner: is called before every request is handled; raises an exception if the folder is another process's.

    Raises:
        UserError: something the user gave cannot be used, or another process holds the run.
        RemoteFailure: the workers cannot be started.
    """
    run_storage(recipe, path)  # a place that does not exist is refused before anything is started
    path.mkdir(parents=True, exist_ok=True)
    with _told(path):
        writer = RunWriter(path, Trackers(recipe, path, display.say))
        writer.write_recipe(recipe)
    with Control(path, check_owner) as control:
        display.log_to(path)
        display.say("preparing tasks and model")
        with _told(path):
            prepared = prepare(recipe, path, display.say)
        if prepared.dropped:
            kinds = ", ".join(f"{kind} {count}" for kind, count in prepared.dropped.most_common())
            display.say(f"dropped {prepared.dropped.total()} bad rows: {kinds}")
        with ExitStack() as stack:
            queue = QueueWait(path.name, display, control)
            with wait_for_slot(str(path), worker_bundles(recipe), queue.wait):
                queue.report("starting")
                display.say(f"starting {_worker_counts(recipe)}")
                workers = stack.enter_context(Workers(recipe, path, prepared))
            run = Run(recipe, prepared, writer, workers, display, control)
            display.at = lambda: run.position.step
            yield run


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns it into a UserError if files of the run cannot be written: nothing has been done yet."""
    try:
        with disk_named(path):
            yield
    except OSError as error:
        raise UserError(write_fault(error, path)) from error


def _worker_counts(recipe: Recipe) -> str:
    ranks, min_ranks = recipe.learner.workers, recipe.learner.fewest
    learner = str(ranks) if min_ranks == ranks else f"{min_ranks} to {ranks}"
    return f"{recipe.rollout.workers} rollout, {recipe.reward.workers} reward and {learner} learner workers"


class StoppedEarly(Exception):
    """The run was asked to stop while it waited for room on the cluster."""


class QueueWait:
    """What a run does while it waits for room: it reports that, and stops if it is asked to."""

    def __init__(self, name: str, display: Display, control: Control) -> None:
        self.name, self.display, self.control = name, display, control
        self.shown = ""  # the reason that was shown last

    def wait(self, why: str) -> None:
        """Reports why the run waits. Raises StoppedEarly."""
        reason = why.partition(";")[0]  # what is free, after it, changes all the time
        if reason != self.shown:
            self.shown = reason
            self.display.say(f"waiting: {why}")
        self.report("waiting", why=why)

    def report(self, status: str, **more: str) -> None:
        """Reports a status, and refuses whatever else than to stop is asked. Raises StoppedEarly."""
        for request in self.control.sync({"run": self.name, "status": status, **more}):
            if request.action == "stop":
                raise StoppedEarly
            self.display.say(f"asked to {request.action}: not possible before the workers are up")


@contextmanager
def _stops_at_sigterm(signals: Signals | None, run: Run) -> Iterator[None]:
    """In the block SIGTERM lets the run finish its step and commit. A second one ends it, as Ctrl-C does."""

    def stop() -> None:
        run.requests.stopping = True
        run.context.display.say(
            "SIGTERM: the run stops after this step and its commit; another one, or Ctrl-C, ends it"
        )

    if signals:
        signals.stop_gently = stop
    try:
        yield
    finally:
        if signals:
            signals.stop_gently = None


def _interrupted(signals: Signals | None, run: Run | None, recipe: Recipe, path: Path, display: LoggedDisplay) -> int:
    """What a run leaves that a signal ends, or the end of its Ray cluster. Returns the exit code."""
    if signals:
        signals.told = True
    if signals and signals.why:
        return _end_early(run, recipe, path, display, "failed", f"{signals.why}; go on with: curlvpr resume {path}", 1)
    by = f" by {signals.cause}" if signals and signals.cause else ""
    why = f"interrupted{by}; go on with: curlvpr resume {path}"
    return _end_early(run, recipe, path, display, "interrupted", why, signals.code if signals else 130)


def write_pages(path: Path, display: Display) -> None:
    """Writes the model's card, if there is a model, and the report. A fault in them is shown, and fails no run."""
    from cluster.reporting.model_card import write_model_card
    from cluster.reporting.report import write_report

    for page, write in (("model card", write_model_card), ("report", write_report)):
        try:
            file = write(path)
        except Exception as error:  # noqa: BLE001 - a page is no reason to lose a run
            why = str(error) if isinstance(error, UserError) else error_line(error)
            display.say(f"the {page} was not written: {why}")
        else:
            if file:
                display.say(f"{page} {file}")


def _write_early_summary(recipe: Recipe, path: Path, status: str, why: str) -> None:
    """The summary of a run that ended before its workers were up. A resumed run keeps the summary that it has."""
    if (path / "recipe.yaml").is_file() and not (path / "summary.json").exists():
        summary = empty_summary(status, why, recipe, path)
        Storage(str(path.absolute())).write("summary.json", json.dumps(summary, indent=2).encode())


def _end_early(
    run: Run | None, recipe: Recipe, path: Path, display: LoggedDisplay, status: str, why: str, code: int
) -> int:
    """Writes why a run ended before its end, to the summary, the log and standard error. Returns the exit code."""
    with suppress(OSError):  # the disk may be what is wrong
        if run:
            run.summary.write(status, why)
        else:
            _write_early_summary(recipe, path, status, why)
    display.keep("say", why if why.startswith(status) else f"{status}: {why}")
    display.close()
    first, *rest = why.splitlines()
    tell(f"curlvpr: {first}", *rest)
    return code
