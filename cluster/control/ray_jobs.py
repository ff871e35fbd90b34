"""Hands a command to a Ray cluster as a job: `ray job submit` for recipes, checked before anything is sent."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence, one_line
from cluster.planning.footprint import versions_ram
from cluster.planning.machine import CODE
from cluster.record.run_status import taken_words


def submit(
    recipe: Path, name: str | None, settings: Sequence[str], address: str | None, driver_cpus: float
) -> tuple[Any, str]:
    """Submits `curlvpr train` with the working directory, as Ray packs it (without what .gitignore names).

    Returns:
        As `submit_command`.

    Raises:
        UserError: the recipe is faulty or outside the working directory, the name is taken, or the cluster does not
            take the job.
    """
    loaded = load_recipe(recipe, settings)
    folder = Path.cwd()
    if not recipe.resolve().is_relative_to(folder):
        raise UserError(
            f"{recipe}: the job gets the working directory, {folder}, and this recipe is outside it; copy it there"
        )
    command = ["train", str(recipe.resolve().relative_to(folder))]
    if name:
        _check_free(name, loaded.root.expanduser(), address)
        command += ["--name", name]
    for setting in settings:
        command += ["--set", setting]
    return submit_command(command, {"run": name or recipe.stem}, loaded, folder, address, driver_cpus)


def _check_free(name: str, root: Path, address: str | None) -> None:
    """Checks a run's name as far as it can be seen from here; in the end the job itself makes the folder, or ends.

    Raises:
        UserError: the folder exists, or a job of that name is in progress.
    """
    if root.is_absolute() and (root / name).exists():
        raise UserError(f"--name {name}: {taken_words(root / name)}")
    if any(job.run == name and job.going for job in list_jobs(address)):
        raise UserError(f"--name {name}: a job of this cluster trains a run of that name; choose another")


def submit_command(
    command: Sequence[str],
    metadata: Mapping[str, str],
    recipe: Recipe,
    folder: Path = CODE,
    address: str | None = None,
    driver_cpus: float = 0,
) -> tuple[Any, str]:
    """Submits `curlvpr` with a command.

    Args:
        command: the arguments of `curlvpr`.
        metadata: shown with the job by the dashboard.
        recipe: of the run that the command starts.
        folder: the working directory that the job gets.
        address: of the cluster's dashboard; None for RAY_API_SERVER_ADDRESS, or this machine's.
        driver_cpus: the CPUs that the job's own process takes of the cluster; with 0 it runs on the head. Otherwise it
            also takes the memory of the weights' versions, which its node keeps, so that it goes where they fit.

    Returns:
        Ray's client and the id of the job.

    Raises:
        UserError: the cluster cannot be reached, or does not take the job.
    """
    # Installed packages are on every node already; a checkout, or a job's copy of one, travels.
    environment = {"working_dir": str(folder)} if (folder / "pyproject.toml").is_file() else {}
    with _job_client(address) as client:
        return client, client.submit_job(
            entrypoint=shlex.join(["python", "-m", "cluster.cli", *command]),
            runtime_env=environment,
            entrypoint_num_cpus=driver_cpus,
            entrypoint_memory=versions_ram(recipe) if driver_cpus else None,
            metadata=dict(metadata),
        )


@dataclass(frozen=True)
class Job:
    """A job that `submit_command` handed over.

    Attributes:
        run: the name of its run.
        token: the name of the service's token that started it; "" without a service.
        submitted: seconds since 1970.
        going: it has not ended.
        why: the last line of its output if it failed, else "".
    """

    run: str
    token: str
    submitted: float
    going: bool
    why: str


def list_jobs(address: str | None) -> list[Job]:
    """The jobs of a cluster that belong to runs, newest first. Raises UserError: the cluster cannot be reached."""
    with _job_client(address) as client:
        jobs = sorted(client.list_jobs(), key=lambda job: job.start_time or 0, reverse=True)
    return [
        Job(
            run=job.metadata["run"],
            token=job.metadata.get("token", ""),
            submitted=(job.start_time or 0) / 1000,
            going=not job.status.is_terminal(),
            why=_last_line(job.message or "") if job.status == "FAILED" else "",
        )
        for job in jobs
        if "run" in (job.metadata or {})
    ]


def follow(client: Any, job: str) -> int:
    """Prints the job's output until it ends. Returns 0 if it succeeded, else 1."""

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)

    asyncio.run(tail())
    return 0 if client.get_job_status(job) == "SUCCEEDED" else 1


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "the job failed"


@contextmanager
def _job_client(address: str | None) -> Iterator[Any]:
    """Ray's client for a cluster's jobs; its errors become a UserError."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        # If RAY_ADDRESS is set, Ray would crash without a token.
        ensure_token_if_auth_enabled(None, create_token_if_missing=False)
        client = JobSubmissionClient(address)
        # By default it logs a line for every package that it uploads.
        logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)
        yield client
    except AuthenticationError as error:
        raise UserError(f"the cluster takes no job: {first_sentence(error)}; {TOKEN_ADVICE}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"the cluster takes no job: {one_line(error)}") from error
