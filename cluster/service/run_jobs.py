"""Runs that are started over HTTP: jobs of the service's own cluster, whose list says which go on and whose they are."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_jobs import Job, list_jobs, submit_command
from cluster.control.run_actor import read_status
from cluster.errors import UserError
from cluster.service.quotas import Held, exceeds, held
from cluster.service.tokens import Token

SEEN_S = 1.0  # for which the list of jobs is not asked for again
ENDING_S = 20.0  # for which a job may go on after its run, writing its report
NONE: Mapping[str, int | None] = {}


class Conflict(Exception):
    """What is asked does not go with what there is: a name that is taken, a quota that is used up. One line."""


class Starter:
    """Starts and resumes the runs below `root`, within the quotas of the tokens. A run's recipe waits for its job in .submitted."""

    def __init__(self, root: Path, tokens: Sequence[Token], driver_cpus: float) -> None:
        self.root, self.tokens, self.driver_cpus = root, tuple(tokens), driver_cpus
        # So that two requests cannot both take a name, or what is left of a quota. Of this replica: more than one stands only
        # where more than 100 requests are answered at once.
        self._one = threading.Lock()
        self._seen: tuple[float, list[Job]] = (0.0, [])  # when the cluster was asked last, and what it said

    def start(self, recipe: Recipe, name: str | None, token: Token) -> tuple[str, str]:
        """Starts a run, by the recipe's name and a number where it is given none.

        Returns:
            Its name, and the id of its job.

        Raises:
            Conflict: the name is taken, or the token's quota used up.
            UserError: the cluster takes no job.
        """
        with self._one:
            known = self._jobs() if token.limited or name else []
            if name and ((self.root / name).exists() or any(job.run == name and job.going for job in known)):
                raise Conflict(f"run {name} exists already")
            self._check(token, "", recipe, NONE, known)
            run = name or next(
                run for run in _numbered(recipe.name) if not (self._recipe(run).exists() or (self.root / run).exists())
            )
            self._recipe(run).parent.mkdir(exist_ok=True)
            self._recipe(run).write_text(recipe.model_dump_json(), encoding="utf-8")  # JSON is YAML
            try:
                return run, self._submit(["train", str(self._recipe(run)), "--name", run], run, token)
            except UserError:
                self._recipe(run).unlink()
                raise

    def resume(self, run: Path, token: Token) -> str:
        """Goes on with a run that has ended. Returns the id of its job. Raises as `start`."""
        until = time.monotonic() + ENDING_S
        while any(job.run == run.name and job.going for job in self._jobs()):
            if time.monotonic() > until:
                raise Conflict(f"the last job of run {run.name} has not ended yet; ask again in a moment")
            time.sleep(0.5)
        with self._one:
            known = self._jobs()
            self._check(token, run.name, _recipe_of(run), NONE, known)
            return self._submit(["resume", str(run)], run.name, token)

    @contextmanager
    def growing(self, run: Path, counts: Mapping[str, int | None]) -> Iterator[None]:
        """For the block in which a run gets other numbers of workers, within the quota of the token that started it.

        Raises:
            Conflict: it would be more.
            UserError: the cluster cannot be reached.
        """
        with self._one:
            known = self._jobs() if any(token.limited for token in self.tokens) else []
            owner = next((job.token for job in known if job.run == run.name), None)
            for token in self.tokens:
                if token.name == owner:
                    self._check(token, run.name, _recipe_of(run), counts, known)
            yield

    def waiting(self) -> list[str]:
        """Runs that were started, and whose job has not written their recipe so far."""
        names = [place.stem for place in (self.root / ".submitted").glob("*.yaml")]
        return [name for name in names if not (self.root / name / "recipe.yaml").exists()]

    def told(self, run: str) -> dict[str, Any]:
        """How a run stands by its newest job, where that knows better than the run's folder: it is starting, or failed before it
        made one. {} where it does not."""
        job = next((job for job in self._newest() if job.run == run), None)
        kept = max(
            (
                file.stat().st_mtime
                for name in ("recipe.yaml", "summary.json")
                if (file := self.root / run / name).is_file()
            ),
            default=0.0,
        )
        if job is None or job.submitted < kept:  # one that is older is just ending
            return {}
        if job.going:
            return {"run": run, "status": "starting"}
        return {"run": run, "status": "failed", "why": job.why} if job.why and not kept else {}

    def _newest(self) -> list[Job]:
        """As the cluster told within the last second; none where it cannot be reached."""
        at, known = self._seen
        if time.monotonic() - at > SEEN_S:
            try:
                known = self._jobs()
            except UserError:
                known = []
            self._seen = time.monotonic(), known
        return known

    def _check(
        self, token: Token, run: str, recipe: Recipe, counts: Mapping[str, int | None], known: Sequence[Job]
    ) -> None:
        if not token.limited:
            return
        others = {job.run for job in known if job.going and job.token == token.name and job.run != run}
        why = exceeds(
            token.quota, held(recipe, self.driver_cpus, counts), {other: self._held(other) for other in sorted(others)}
        )
        if why:
            raise Conflict(f"the quota of {token.name}: {why}")

    def _held(self, run: str) -> Held:
        folder = self.root / run
        try:
            if not (folder / "recipe.yaml").is_file():
                return held(load_recipe(self._recipe(run)), self.driver_cpus, NONE)
            workers = read_status(folder).get("workers", {})
            counts = {kind: sum(states.values()) for kind, states in workers.items()}
            return held(load_recipe(folder / "recipe.yaml"), self.driver_cpus, counts)
        except UserError:  # its folder was removed or damaged
            return Held(0, 0)

    def _recipe(self, run: str) -> Path:
        return self.root / ".submitted" / f"{run}.yaml"

    def _jobs(self) -> list[Job]:
        return list_jobs(_cluster())

    def _submit(self, command: list[str], run: str, token: Token) -> str:
        return submit_command(
            command, {"run": run, "token": token.name}, address=_cluster(), driver_cpus=self.driver_cpus
        )[1]


def _cluster() -> str:
    """The address of the cluster that the service is in: a machine may be in several. Raises UserError: it is in none."""
    if not ray.is_initialized():
        raise UserError("the service is in no cluster")
    return ray.get_runtime_context().gcs_address


def _recipe_of(run: Path) -> Recipe:
    try:
        return load_recipe(run / "recipe.yaml")
    except UserError as error:
        raise Conflict(str(error)) from error


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name}-{number}"
