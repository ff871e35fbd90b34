"""One actor admits runs for all replicas of the service: names and quotas are taken one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.runtime.remote import RemoteFailure, wait_for
from cluster.config.recipe import Recipe
from cluster.control.run_actor import NAMESPACE
from cluster.errors import UserError
from cluster.service.run_jobs import Conflict, RunJobs
from cluster.service.tokens import Token

ANSWER_S = 60.0  # for an admission, behind those that came before
WHO = "the service's keeper of quotas"


@dataclass(frozen=True)
class Place:
    """What the replica that asks serves: the folder of its runs, its tokens, the CPUs of each run's loop."""

    root: Path
    tokens: tuple[Token, ...]
    driver_cpus: float

    def run_jobs(self) -> RunJobs:
        return RunJobs(self.root, self.tokens, self.driver_cpus)


@dataclass(frozen=True)
class Admission:
    """The keeper's answer: a run and its job, or why not. (An exception would come with Ray's trace.)"""

    run: str = ""
    job: str = ""
    conflict: str = ""
    fault: str = ""


class QuotaKeeper:
    """A Ray actor that handles one request at a time.

    It remembers nothing: what is held is read from Ray's list of jobs and from the run folders. So it may die at any
    moment. Each request says until when its caller waits; one that is too late does nothing.
    """

    def __repr__(self) -> str:
        return "quotas"

    def start(self, place: Place, until: float, recipe: Recipe, name: str | None, token: Token) -> Admission:
        return _admission(until, lambda: Admission(*self.run_jobs(place).start(recipe, name, token)))

    def resume(self, place: Place, until: float, run: Path, token: Token) -> Admission:
        return _admission(until, lambda: Admission(run.name, self.run_jobs(place).resume(run, token)))

    def scale(self, place: Place, until: float, run: Path, counts: Mapping[str, int | None]) -> Admission:
        def scaled() -> Admission:
            self.run_jobs(place).scale(run, counts)
            return Admission(run.name)

        return _admission(until, scaled)

    def run_jobs(self, place: Place) -> RunJobs:
        return place.run_jobs()


class SharedRunJobs(RunJobs):
    """As `RunJobs`, for one replica among several."""

    def __init__(self, root: Path, tokens: Sequence[Token], driver_cpus: float) -> None:
        super().__init__(root, tokens, driver_cpus)
        self.place = Place(root, tuple(tokens), driver_cpus)

    def start(self, recipe: Recipe, name: str | None, token: Token) -> tuple[str, str]:
        admission = _answer(keeper_of(self.root).start.remote(self.place, _until(), recipe, name, token))
        return admission.run, admission.job

    def resume(self, run: Path, token: Token) -> str:
        self.wait_for_last_job(run)  # here, so that nobody else waits for it
        return _answer(keeper_of(self.root).resume.remote(self.place, _until(), run, token)).job

    def scale(self, run: Path, counts: Mapping[str, int | None]) -> None:
        _answer(keeper_of(self.root).scale.remote(self.place, _until(), run, counts))


def keeper_of(root: Path) -> Any:
    """The actor for the runs below `root`; whoever asks first starts it. Raises UserError: no cluster."""
    if not ray.is_initialized():
        raise UserError("the service is in no cluster")
    options = {
        "name": _name(root),
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
    }
    return ray.remote(QuotaKeeper).options(**options).remote()


def end_keeper(root: Path) -> None:
    """Ends the actor, so that the next one has the code of the service that starts it."""
    with suppress(ValueError):  # there is none
        ray.kill(ray.get_actor(_name(root), namespace=NAMESPACE))


def _name(root: Path) -> str:
    return f"quotas of {root}"


def _until() -> float:
    return time.time() + ANSWER_S


def _admission(until: float, admit: Callable[[], Admission]) -> Admission:
    if time.time() > until:
        return Admission(fault="the request came too late")
    try:
        return admit()
    except Conflict as error:
        return Admission(conflict=str(error))
    except (UserError, RemoteFailure) as error:
        return Admission(fault=str(error))


def _answer(ref: Any) -> Admission:
    """The keeper's answer. Raises Conflict, or UserError: the cluster takes no job, or the keeper does not answer."""
    try:
        admission: Admission = wait_for(ref, ANSWER_S, WHO)
    except RemoteFailure as error:
        raise UserError(str(error)) from error
    if admission.conflict:
        raise Conflict(admission.conflict)
    if admission.fault:
        raise UserError(admission.fault)
    return admission
