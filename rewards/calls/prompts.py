"""What prompts to judges and teachers share: templates that may come from others, and what they say of a task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from curriculum.task import NO_FINDING, Task


def prompt_template(source: str, names: Sequence[str]) -> jinja2.Template:
    """A jinja2 template that runs in a sandbox, and that may use these names.

    Raises:
        ValueError: it is no template, or uses a name that there is not.
    """
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        unknown = meta.find_undeclared_variables(environment.parse(source)) - set(names)
        template = environment.from_string(source)
    except jinja2.TemplateError as error:
        raise ValueError(f"no jinja2 template ({error})") from error
    if unknown:
        raise ValueError(f"no such name as {', '.join(sorted(unknown))}; it may use {', '.join(names)}")
    return template


def gold_words(task: Task) -> str:
    """The gold, with the texts of its options: "B) Edema"."""
    return ", ".join(_named(task, gold) for gold in task.gold) or NO_FINDING


def fence(task: Task, text: str) -> str:
    """A line that a text of others cannot contain by chance or on purpose, since it depends on the text."""
    digest = hashlib.sha256(f"{task.id}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"====={digest[:12]}====="


def _named(task: Task, gold: str) -> str:
    option = task.options.get(gold)
    return f"{gold}) {option}" if option else gold
