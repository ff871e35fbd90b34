"""A sitting of a run: from the recipe to the exit code, with every expected fault told in one line."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from actors.runtime.remote import RemoteFailure
from actors.runtime.storage import Storage
from cluster.config.recipe import Recipe
from cluster.control.ray_connection import ray_cluster
from cluster.control.run_actor import Control
from cluster.control.run_queue import wait_for_slot, worker_bundles
from cluster.errors import UserError, error_line
from cluster.record.checkpoint import CheckpointError, run_checkpoints, run_storage
from cluster.record.console import Display, LoggedDisplay, clock, open_display
from cluster.record.run_writer import RunWriter
from cluster.record.trackers import Trackers
from cluster.run.loop import Run
from cluster.run.prepare import prepare
from cluster.run.progress.summary import empty_summary
from cluster.run.workers import Workers


def start(recipe: Recipe, path: Path) -> int:
    """Trains in the new run folder `path` until the curriculum ends.

    Returns:
        0 where it came to its end or was told to stop, 1 where the run failed, or 130 where it was interrupted; the summary
        says what happened.

    Raises:
        UserError: something the user gave cannot be used; then no run folder is left behind.
    """
    try:
        return _hold(recipe, path)
    except UserError:
        shutil.rmtree(path, ignore_errors=True)
        raise


def resume(recipe: Recipe, path: Path) -> int:
    """Trains on from the newest commit of the run folder `path`, from the beginning where there is none; returns as `start`.

    Raises:
        UserError: the run is complete, or its newest commit is damaged.
    """
    summary = path / "summary.json"
    if summary.is_file() and json.loads(summary.read_text(encoding="utf-8"))["status"] == "finished":
        raise UserError(f"{path}: this run is complete; its model is {path / 'model'}")
    checkpoints = run_checkpoints(recipe, path)
    try:
        commits = checkpoints.committed()
    except OSError as error:
        raise UserError(f"{checkpoints.storage} cannot be read: {error}") from error
    if not commits:
        return _hold(recipe, path, resume=True)
    try:
        state = checkpoints.load(commits[-1])
    except CheckpointError as error:
        older = f"; {commits[-2].name} is the one before" if len(commits) > 1 else ""
        raise UserError(f"{error}{older}. Remove the damaged folder to go on from what is left.") from error
    return _hold(recipe, path, (commits[-1], state), resume=True)


def _hold(
    recipe: Recipe, path: Path, commit: tuple[Storage, dict[str, Any]] | None = None, resume: bool = False
) -> int:
    display = open_display(path.name)
    run: Run | None = None
    try:
        display.say(f"run folder {path}")
        with ray_cluster(recipe.roles) as dashboard:
            if dashboard:
                display.say(f"Ray dashboard http://{dashboard}")
            with open_run(recipe, path, display) as run:
                _stop_at_sigterm(run)
                if resume:
                    run.recovery.restore(*(commit or (None, run.recovery.first_state)))
                    display.say(
                        f"resumed at step {run.position.step}"
                        + (f", from {commit[0].name}" if commit else ": none was committed")
                    )
                summary = run.train()
        took = clock(summary["seconds"]["all"])
        if summary["status"] == "stopped":
            display.say(f"stopped at step {run.position.step}, after {took}; go on with: curlvpr resume {path}")
        else:
            display.say(f"finished in {took}; model {path / 'model'}, summary {path / 'summary.json'}")
        return 0
    except StoppedEarly:
        _keep_early_end(recipe, path, "stopped", "while it waited for room on the cluster")
        display.say(f"stopped before its workers were started; go on with: curlvpr resume {path}")
        return 0
    except RemoteFailure as error:
        return _stopped(run, recipe, path, display, "failed", str(error), 1)
    except OSError as error:  # a disk or a bucket
        return _stopped(run, recipe, path, display, "failed", f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        return _stopped(
            run, recipe, path, display, "interrupted", f"interrupted; go on with: curlvpr resume {path}", 130
        )
    finally:
        if run:
            run.close()
            write_pages(path, display)
        display.close()


@contextmanager
def open_run(recipe: Recipe, path: Path, display: LoggedDisplay) -> Iterator[Run]:
    """A run in the folder `path`, on workers that stand as long as the block lasts. Ray is connected already.
    The display keeps what it tells in the folder from here on.

    Raises:
        UserError: something the user gave cannot be used, or another process holds the run.
        RemoteFailure: the workers cannot be started.
    """
    run_storage(recipe, path)  # a place that does not exist is told before anything is started
    path.mkdir(parents=True, exist_ok=True)
    folder = RunWriter(path, Trackers(recipe, path, display.say))
    folder.write_recipe(recipe)
    with Control(path) as control:
        display.log_to(path)
        display.say("preparing tasks and model")
        prepared = prepare(recipe, path)
        if prepared.dropped:
            kinds = ", ".join(f"{kind} {count}" for kind, count in prepared.dropped.most_common())
            display.say(f"dropped {prepared.dropped.total()} bad rows of {recipe.data.tasks}: {kinds}")
        with ExitStack() as stack:
            patience = QueueWait(path.name, display, control)
            with wait_for_slot(str(path), worker_bundles(recipe), patience.wait):
                patience.tell("starting")
                ranks = recipe.learner.workers
                fewest = f"{recipe.learner.fewest} to " if recipe.learner.fewest < ranks else ""
                display.say(
                    f"starting {recipe.rollout.workers} rollout, {recipe.reward.workers} reward and "
                    f"{fewest}{ranks} learner workers"
                )
                workers = stack.enter_context(Workers(recipe, path, prepared))
            run = Run(recipe, prepared, folder, workers, display, control)
            display.at = lambda: run.position.step
            yield run


class StoppedEarly(Exception):
    """The run was told to stop while it waited for room on the cluster."""


class QueueWait:
    """What a run does while it waits for room: tells so, and heeds a wish to stop."""

    def __init__(self, name: str, display: Display, control: Control) -> None:
        self.name, self.display, self.control, self.told = name, display, control, ""

    def wait(self, why: str) -> None:
        if why.partition(";")[0] != self.told:  # what is free changes all the time
            self.told = why.partition(";")[0]
            self.display.say(f"waiting: {why}")
        self.tell("waiting", why=why)

    def tell(self, status: str, **more: str) -> None:
        for request in self.control.sync({"run": self.name, "status": status, **more}):
            if request.action == "stop":
                raise StoppedEarly
            self.display.say(f"asked to {request.action}: that cannot be done before the workers stand")


def _stop_at_sigterm(run: Run) -> None:
    def stop(*_: object) -> None:
        run.context.display.say("SIGTERM: the run stops after this step")
        run.requests.stopping = True

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def write_pages(path: Path, display: Display) -> None:
    """The card of the model, where there is one, and the report. A fault in them is told, and fails no run."""
    from cluster.reporting.model_card import write_model_card
    from cluster.reporting.report import write_report

    for what, write in (("model card", write_model_card), ("report", write_report)):
        try:
            if written := write(path):
                display.say(f"{what} {written}")
        except Exception as error:
            display.say(f"the {what} was not written: {error_line(error)}")


def _keep_early_end(recipe: Recipe, path: Path, status: str, why: str) -> None:
    """The summary of a run that ended before its workers stood; of one that is resumed, what it came to before is kept."""
    if (path / "recipe.yaml").is_file() and not (path / "summary.json").exists():
        summary = empty_summary(status, why, recipe, path)
        Storage(str(path.absolute())).write("summary.json", json.dumps(summary, indent=2).encode())


def _stopped(
    run: Run | None, recipe: Recipe, path: Path, display: LoggedDisplay, status: str, why: str, code: int
) -> int:
    if run:
        run.summary.write(status, why)
    else:
        _keep_early_end(recipe, path, status, why)
    display.keep("say", why if why.startswith(status) else f"{status}: {why}")
    display.close()
    first, *rest = why.splitlines()
    print(f"curlvpr: {first}", *rest, sep="\n", file=sys.stderr)
    return code
