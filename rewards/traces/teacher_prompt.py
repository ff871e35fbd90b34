"""What a teacher is asked: a template, filled with a task. And the trace in what it answers."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from curriculum.task import NO_FINDING, Task
from rewards.traces.writer import Ask

NAMES = ("task", "question", "options", "form", "gold", "right", "report", "attempt", "fence")
_TRACE = re.compile(r"<think>.*</answer>", re.IGNORECASE | re.DOTALL)


def default_template() -> str:
    """The template of this package."""
    return resources.files(__package__).joinpath("teacher.j2").read_text("utf-8")


class TeacherPrompt:
    """A jinja2 template of the prompt. It is run in a sandbox: it may come from others.

    Raises:
        ValueError: it is no template, or uses a name that there is not.
    """

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        try:
            unknown = meta.find_undeclared_variables(environment.parse(source)) - set(NAMES)
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ValueError(f"no jinja2 template ({error})") from error
        if unknown:
            raise ValueError(f"no such name as {', '.join(sorted(unknown))}; it may use {', '.join(NAMES)}")

    def fill(self, ask: Ask) -> str:
        """The prompt for one ask. `fence` is a line that the report cannot contain: it depends on it."""
        task = ask.task
        digest = hashlib.sha256(f"{task.id}\n{task.report}".encode()).hexdigest()
        return self._template.render(
            task=task,
            question=task.question,
            options=dict(task.options),
            form=task.form,
            gold=", ".join(_named(task, gold) for gold in task.gold) or NO_FINDING,
            right=", ".join(task.gold) or NO_FINDING,
            report=task.report,
            attempt=ask.attempt,
            fence=f"====={digest[:12]}=====",
        )


def trace_in(answer: str) -> str:
    """The trace in a teacher's answer, without what stands before its first pair and after its last; "" if none."""
    found = _TRACE.search(answer)
    return found[0] if found else ""


def _named(task: Task, gold: str) -> str:
    option = task.options.get(gold)
    return f"{gold}) {option}" if option else gold
