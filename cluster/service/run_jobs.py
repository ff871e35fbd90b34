"""Runs started over HTTP: jobs of the service's cluster. Ray's list of jobs shows which are in progress, and whose."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray

from actors.runtime.files import replacing
from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_jobs import Job, list_jobs, submit_command
from cluster.control.run_actor import ControlRequest, reach_run, read_status, send_request
from cluster.errors import UserError
from cluster.outputs import told
from cluster.record.lease import FolderTaken, Lease
from cluster.record.scale import read_scale
from cluster.service.quotas import Holding, holding, quota_fault
from cluster.service.tokens import Token

CACHE_S = 1.0  # for which the list of jobs is reused
ENDING_S = 20.0  # for which a job may outlive its run, to write the report
TURN_S = 20.0  # for which a request waits while others start runs
BEGIN_S = 600.0  # within which a job that another cluster took has made its run folder
CLOCKS_S = 60.0  # by which the clocks of the folder and of a cluster may differ
RECIPE_COUNTS: Mapping[str, int | None] = {}  # numbers of workers as the recipe has them


class Conflict(Exception):
    """A request conflicts with the present state: a name is taken, or a quota is used up. One line."""


@contextmanager
def _as_conflict() -> Iterator[None]:
    """A run that is not in progress is a conflict of the request with its state."""
    try:
        yield
    except UserError as error:
        raise Conflict(str(error)) from error


class RunJobs:
    """Starts and resumes the runs below `root`, within the quotas of the tokens.

    The recipe of a new run waits in `root/.submitted` until its job has made the run folder.
    """

    def __init__(self, root: Path, tokens: Sequence[Token], driver_cpus: float) -> None:
        self.root = root
        self.tokens = tuple(tokens)
        self.driver_cpus = driver_cpus
        # Keeps two requests from taking the same rest of a quota; `quota_keeper` does so for several replicas of the
        # service. `_turn` keeps names apart for all.
        self._lock = threading.Lock()
        self._cached: tuple[float, list[Job]] = (0.0, [])  # when the cluster was asked last, and its answer

    def start(self, recipe: Recipe, name: str | None, token: Token) -> tuple[str, str]:
        """Starts a run, with the recipe's name if `name` is None, and a number if that is taken.

        Returns:
            The run's name, and the id of its job.

        Raises:
            Conflict: the name is taken, or the token's quota is used up.
            UserError: the cluster takes no job, or the root cannot be written.
        """
        self._check_quota(token, "", recipe, RECIPE_COUNTS, [])  # too large by itself: nobody need be asked
        with self._lock, told("the folder of runs", self.root), self._turn():
            jobs = self._jobs() if token.limited or name else []
            if name and ((self.root / name).exists() or self._is_starting(name, jobs)):
                raise Conflict(f"run {name} exists already")
            self._check_quota(token, "", recipe, RECIPE_COUNTS, jobs)
            run = name or self._free_name(recipe.name)
            with replacing(self._submitted(run)) as partial:
                partial.write_text(recipe.model_dump_json(), encoding="utf-8")  # JSON is YAML
            try:
                return run, self._submit(["train", str(self._submitted(run)), "--name", run], run, recipe, token)
            except UserError:
                self._submitted(run).unlink()
                raise

    def resume(self, run: Path, token: Token) -> str:
        """Starts a job that continues a run that has ended. Returns the job's id. Raises as `start`."""
        self.wait_for_last_job(run)
        with self._lock:
            jobs = self._jobs()
            if _has_job(run, jobs):  # another request was quicker
                raise Conflict(f"run {run.name} is being resumed already")
            recipe = _recipe_of(run)
            self._check_quota(token, run.name, recipe, read_scale(run, recipe), jobs)
            return self._submit(["resume", str(run)], run.name, recipe, token)

    def wait_for_last_job(self, run: Path) -> None:
        """Waits until a run that has ended has no job that goes on. Raises Conflict: it takes longer than ENDING_S."""
        deadline = time.monotonic() + ENDING_S
        while _has_job(run, self._jobs()):
            if time.monotonic() > deadline:
                raise Conflict(f"the last job of run {run.name} has not ended yet; ask again in a moment")
            time.sleep(0.5)

    def scale(self, run: Path, counts: Mapping[str, int | None]) -> None:
        """Requests other numbers of workers by kind, within the quota of the token that started the run.

        Raises:
            Conflict: it would exceed the quota, or the run is not in progress.
            UserError: the cluster cannot be reached.
            RemoteFailure: the run does not answer.
        """
        with self._lock:
            with _as_conflict():
                reach_run(run)
            jobs = self._jobs() if any(token.limited for token in self.tokens) else []
            owner = next((job.token for job in jobs if job.run == run.name), None)
            for token in self.tokens:
                if token.name == owner:
                    self._check_quota(token, run.name, _recipe_of(run), counts, jobs)
            with _as_conflict():
                send_request(run, ControlRequest("scale", counts.get("rollout"), counts.get("reward")))

    def without_folder(self) -> list[str]:
        """Runs that were started, but whose job has not made their run folder yet."""
        names = [path.stem for path in (self.root / ".submitted").glob("*.yaml")]
        return [name for name in names if not (self.root / name / "recipe.yaml").exists()]

    def status(self, run: str) -> dict[str, Any]:
        """The status of a run by its newest job: it is starting, or failed before it made a folder.

        Empty if the run's folder is newer than the job, and so knows better.
        """
        job = next((job for job in self._recent_jobs() if job.run == run), None)
        files = [self.root / run / name for name in ("recipe.yaml", "summary.json")]
        written = max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
        if job is None or job.submitted < written:  # a job older than these files is just ending
            return {}
        if job.going:
            return {"run": run, "status": "starting"}
        if job.why and not written:
            return {"run": run, "status": "failed", "why": job.why}
        return {}

    def _recent_jobs(self) -> list[Job]:
        """The list of jobs, at most CACHE_S old; empty if the cluster cannot be reached."""
        asked_at, jobs = self._cached
        if time.monotonic() - asked_at > CACHE_S:
            try:
                jobs = self._jobs()
            except UserError:
                jobs = []
            self._cached = time.monotonic(), jobs
        return jobs

    def _check_quota(
        self, token: Token, run: str, recipe: Recipe, counts: Mapping[str, int | None], jobs: Sequence[Job]
    ) -> None:
        if not token.limited:
            return
        others = {job.run for job in jobs if job.going and job.token == token.name and job.run != run}
        fault = quota_fault(
            token.quota,
            holding(recipe, self.driver_cpus, counts),
            {other: self._holding(other) for other in sorted(others)},
        )
        if fault:
            raise Conflict(f"the quota of {token.name}: {fault}")

    def _holding(self, run: str) -> Holding:
        folder = self.root / run
        try:
            if not (folder / "recipe.yaml").is_file():
                return holding(load_recipe(self._submitted(run)), self.driver_cpus, RECIPE_COUNTS)
            workers = read_status(folder).get("workers", {})
            recipe = load_recipe(folder / "recipe.yaml")
            counts = {kind: sum(states.values()) for kind, states in workers.items()}
            return holding(recipe, self.driver_cpus, read_scale(folder, recipe) | counts)
        except UserError:  # its folder was removed or damaged
            return Holding(0, 0)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The block in which this service alone, of all that have this root, starts a run. Raises Conflict: no turn."""
        folder = self.root / ".submitted"
        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            deadline = time.monotonic() + TURN_S
            while True:
                try:
                    stack.enter_context(Lease(folder))
                    break
                except FolderTaken as error:
                    if time.monotonic() > deadline:
                        raise Conflict("other runs are being started; ask again in a moment") from error
                    time.sleep(0.05)
            yield

    def _is_starting(self, run: str, jobs: Sequence[Job]) -> bool:
        """Whether a job for a new run of that name is on its way, here or on another cluster with the same root."""
        if any(job.run == run and job.going for job in jobs):
            return True
        file = self._submitted(run)
        if not file.is_file():
            return False
        at = file.stat().st_mtime
        ended_here = any(job.run == run and job.submitted > at - CLOCKS_S for job in jobs)
        return not ended_here and time.time() - at < BEGIN_S

    def _submitted(self, run: str) -> Path:
        """The recipe of a run that was started, for its job."""
        return self.root / ".submitted" / f"{run}.yaml"

    def _free_name(self, name: str) -> str:
        """The name, or the first of name-2, name-3, … that no run has."""
        candidate = name
        for number in itertools.count(2):
            if not (self._submitted(candidate).exists() or (self.root / candidate).exists()):
                break
            candidate = f"{name}-{number}"
        return candidate

    def _jobs(self) -> list[Job]:
        return list_jobs(_cluster())

    def _submit(self, command: list[str], run: str, recipe: Recipe, token: Token) -> str:
        metadata = {"run": run, "token": token.name}
        _, job = submit_command(command, metadata, recipe, address=_cluster(), driver_cpus=self.driver_cpus)
        return job


def _cluster() -> str:
    """The address of the service's own cluster; a machine may be in several. Raises UserError: it is in none."""
    if not ray.is_initialized():
        raise UserError("the service is in no cluster")
    return ray.get_runtime_context().gcs_address


def _has_job(run: Path, jobs: Sequence[Job]) -> bool:
    return any(job.run == run.name and job.going for job in jobs)


def _recipe_of(run: Path) -> Recipe:
    try:
        return load_recipe(run / "recipe.yaml")
    except UserError as error:
        raise Conflict(str(error)) from error
