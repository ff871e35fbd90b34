"""What a task is like: the groups of tasks whose outcomes say something about its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curriculum.task import NO_FINDING

MAX_FINDINGS = 8  # of a task
MAX_CHARACTERS = 80  # of a finding; what differs only later is one
_SAYS_NOT_WHAT = frozenset(
    ("yes", "no", "true", "false", "present", "absent", "uncertain", "new", "resolved", "still present", "still absent")
)
"""Options that have a meaning only with their question."""
COLUMNS = ("id", "form", "family", "question", "options", "gold")
"""What a `Likeness` is made of."""


class Likeness(NamedTuple):
    """A task among others.

    Attributes:
        task: its id.
        form: of its answer.
        family: the kind of question.
        pool: its family in its source, or its family alone where the run has one set.
        findings: what its gold names, or what it asks; at least one.
    """

    task: str
    form: str
    family: str
    pool: str
    findings: tuple[str, ...]

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """Names of the groups of tasks that it is in, the widest first; it may be in several of a level."""
        return (
            (f"form {self.form}",),
            (f"family {self.family}",),
            (f"pool {self.pool}",),
            tuple(f"finding {self.pool}: {finding}" for finding in self.findings),
        )


def findings_of(form: str, question: str, options: Mapping[str, str], gold: Sequence[str]) -> tuple[str, ...]:
    """What a task is about, in words.

    That is what its gold names; for options such as "Yes", which name nothing, the question and the right option; and
    for texts and boxes the question.
    """
    if form == "names":
        named = list(gold) or [NO_FINDING]
    elif options:
        named = [options[letter] for letter in gold]
        if any(text.strip().casefold() in _SAYS_NOT_WHAT for text in options.values()):
            named = [f"{question} {text}" for text in named]
    else:
        named = [question]
    return tuple(dict.fromkeys(name[:MAX_CHARACTERS] for name in named[:MAX_FINDINGS]))
