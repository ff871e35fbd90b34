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

from cluster.config.recipe_file import load_recipe
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence

CODE = Path(__file__).parents[2]


def submit(
    recipe: Path, name: str | None, settings: Sequence[str], address: str | None, driver_cpus: float
) -> tuple[Any, str]:
    """Submits `curlvpr train` with the working directory, as Ray packs it (without what .gitignore names).

    Returns:
        As `submit_command`.

    Raises:
        UserError: the recipe is faulty or outside the working directory, or the cluster does not take the job.
    """
    load_recipe(recipe, settings)
    here = Path.cwd()
    if not recipe.resolve().is_relative_to(here):
        raise UserError(
            f"{recipe}: the job gets the working directory, {here}, and this recipe is outside; copy it into it"
        )
    command = ["train", str(recipe.resolve().relative_to(here))] + (["--name", name] if name else [])
    command += [part for setting in settings for part in ("--set", setting)]
    return submit_command(command, {"run": name or recipe.stem}, here, address, driver_cpus)


def submit_command(
    command: Sequence[str],
    metadata: Mapping[str, str],
    folder: Path = CODE,
    address: str | None = None,
    driver_cpus: float = 0,
) -> tuple[Any, str]:
    """Submits `curlvpr` with a command.

    Args:
        metadata: what the dashboard shows of the job.
        folder: what the job gets as its working directory.
        address: of the cluster's dashboard; RAY_API_SERVER_ADDRESS, or this machine's, where left out.
        driver_cpus: that the job's own process takes of the cluster; with 0 it is put on the head.

    Returns:
        Ray's client and the id of the job.

    Raises:
        UserError: the cluster cannot be reached, or does not take the job.
    """
    # Installed packages are on every node already; a checkout, or a job's copy of one, travels.
    environment = {"working_dir": str(folder)} if (folder / "pyproject.toml").is_file() else {}
    with _jobs(address) as client:
        return client, client.submit_job(
            entrypoint=shlex.join(["python", "-m", "cluster.cli", *command]),
            runtime_env=environment,
            entrypoint_num_cpus=driver_cpus,
            metadata=dict(metadata),
        )


@dataclass(frozen=True)
class Job:
    """A job that `submit_command` has handed over.

    Attributes:
        submitted: when, in seconds since 1970.
        why: its last words, where it failed; else "".
    """

    run: str
    token: str
    submitted: float
    going: bool
    why: str


def jobs(address: str) -> list[Job]:
    """Of a cluster, the newest first. Raises UserError: it cannot be reached."""
    with _jobs(address) as client:
        known = sorted(client.list_jobs(), key=lambda job: job.start_time or 0, reverse=True)
    return [
        Job(
            job.metadata["run"],
            job.metadata.get("token", ""),
            (job.start_time or 0) / 1000,
            not job.status.is_terminal(),
            _last_words(job.message or "") if job.status == "FAILED" else "",
        )
        for job in known
        if "run" in (job.metadata or {})
    ]


def _last_words(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return (lines or ["the job failed"])[-1][:500]


@contextmanager
def _jobs(address: str | None) -> Iterator[Any]:
    """Ray's client of a cluster's jobs; what goes wrong with it is a UserError."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        ensure_token_if_auth_enabled(
            None, create_token_if_missing=False
        )  # where RAY_ADDRESS is set, Ray would crash without one
        client = JobSubmissionClient(address)
        logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(
            logging.WARNING
        )  # else it tells of every package
        yield client
    except AuthenticationError as error:
        raise UserError(f"the cluster takes no job: {first_sentence(error)}; {TOKEN_ADVICE}") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"the cluster takes no job: {' '.join(str(error).split())}") from error


def follow(client: Any, job: str) -> int:
    """Prints what the job says until it ends. Returns 0 where it succeeded."""

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)

    asyncio.run(tail())
    return 0 if client.get_job_status(job) == "SUCCEEDED" else 1
