"""How an answer was read, and why not if it was not."""

from __future__ import annotations

from typing import Literal, NamedTuple

Unread = Literal[
    "empty",
    "too long",
    "hedges",
    "asks a question",
    "contradicts itself",
    "takes it back",
    "its mark rejects it",
    "names a letter that is no option",
    "has words that fit no option",
    "says nothing of what was asked",
    "names nothing",
]
"""Why an answer stays unread. A run counts its unread answers by these reasons."""


class Reading(NamedTuple):
    """An answer as read.

    Attributes:
        value: the option letters or the names of findings, sorted, each once; None if it stays unread.
        how: the form in which it was read, in words; "" if it stays unread.
        unread: why it stays unread; None if it was read.
        detail: the words at fault, "" if there are none to show.
    """

    value: tuple[str, ...] | None
    how: str = ""
    unread: Unread | None = None
    detail: str = ""

    @property
    def why_unread(self) -> str:
        """The reason in words, with the words at fault; "" if the answer was read."""
        if self.unread is None:
            return ""
        return f"{self.unread}: {self.detail!r:.60}" if self.detail else self.unread


def unread(why: Unread, detail: str = "") -> Reading:
    """An answer that stays unread."""
    return Reading(None, unread=why, detail=detail)
