"""What a teacher is asked: a template, filled with a task. And the trace in what it answers."""

from __future__ import annotations

import re
from importlib import resources

from curriculum.task import NO_FINDING
from rewards.calls.prompts import fence, gold_words, prompt_template
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
        self._template = prompt_template(source, NAMES)

    def fill(self, ask: Ask) -> str:
        """The prompt for one ask. `fence` is a line that the report cannot contain: it depends on it."""
        task = ask.task
        return self._template.render(
            task=task,
            question=task.question,
            options=dict(task.options),
            form=task.form,
            gold=gold_words(task),
            right=", ".join(task.gold) or NO_FINDING,
            report=task.report,
            attempt=ask.attempt,
            fence=fence(task, task.report),
        )


def trace_in(answer: str) -> str:
    """The trace in a teacher's answer, without what stands before its first pair and after its last; "" if none."""
    found = _TRACE.search(answer)
    return found[0] if found else ""
