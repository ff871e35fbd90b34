"""Opens the writer of traces that a command names, with what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from cluster.errors import UserError, one_line
from curriculum.strict import fault_text
from curriculum.task import Task
from rewards.traces.report_writer import ReportWriter
from rewards.traces.teacher_config import TeacherConfig
from rewards.traces.teacher_prompt import TeacherPrompt, default_template
from rewards.traces.teacher_writer import TeacherWriter
from rewards.traces.writer import TraceWriter

Log = Callable[[str], None]


class WriterChoice(NamedTuple):
    """The options of `curlvpr data traces` that concern the writer."""

    name: str
    seed: int
    attempts: int
    teacher: Path | None = None
    model: Path | None = None
    recipe: Path | None = None
    samples: int = 8
    temperature: float = 1.0


@contextmanager
def open_writer(choice: WriterChoice, tasks: Sequence[Task], log: Log) -> Iterator[TraceWriter]:
    """The writer, ready to be asked; what it started is stopped at the end.

    Raises:
        UserError: an option that it needs is missing, one that it does not take is given, or its model cannot be used.
        RemoteFailure: a worker failed or did not answer.
    """
    for option, value, name in (("teacher", choice.teacher, "teacher"), ("model", choice.model, "policy")):
        if (value is not None) != (choice.name == name):
            wrong = "needs" if value is None else "does not take"
            raise UserError(f"--writer {choice.name} {wrong} --{option}")
    if choice.name == "policy":
        from cluster.standalone.traces.policy_writer import open_policy

        with open_policy(choice, tasks, log) as policy:
            yield policy
    elif choice.teacher is not None:
        config, prompt = _teacher(choice.teacher)
        if config.engines is None:
            yield TeacherWriter(config, prompt, choice.attempts, choice.seed)
        else:
            from cluster.standalone.traces.offline_teacher import open_offline

            with open_offline(config, prompt, choice, log) as teacher:
                yield teacher
    else:
        yield ReportWriter(choice.seed, choice.attempts)


def _teacher(path: Path) -> tuple[TeacherConfig, str]:
    """A teacher's settings and its prompt. A relative path in them is relative to their file."""
    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"--teacher {path}: not readable as YAML ({one_line(error)})") from error
    if not isinstance(settings, dict):
        raise UserError(f"--teacher {path}: settings are needed, such as model: NAME and base_url: http://HOST:8000/v1")
    try:
        config = TeacherConfig.model_validate(settings)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise UserError(f"--teacher {path}: {f'{place}: ' if place else ''}{one_line(fault_text(fault))}") from error
    source = path.parent / config.prompt if config.prompt else None
    try:
        prompt = source.read_text("utf-8") if source else default_template()
        TeacherPrompt(prompt)
    except (OSError, ValueError) as error:
        raise UserError(f"--teacher {path}: prompt: {one_line(error)}") from error
    return config, prompt
