"""A finding of a sentence while the sentence is still being read."""

from __future__ import annotations

from dataclasses import dataclass, field

from rewards.findings.mention import Mention, Status
from rewards.findings.phrases import Event


@dataclass(slots=True)
class Entry:
    """A mention whose status may still change.

    Attributes:
        finding: the canonical name.
        status: None if it is no finding of this film.
        start: the first word of the phrase that completes it.
        words: the first word that names it, and the one after the last.
        scope: the first word of its statement, and the one after the last.
        cue: the phrase that gave it its status; None for a plain statement.
        rule: the rule that did.
        attributes: "side", "severity" and "place", as far as they are said.
    """

    finding: str
    status: Status | None
    start: int
    words: tuple[int, int]
    scope: tuple[int, int]
    cue: Event | None
    rule: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def mention(self) -> Mention:
        assert self.status is not None
        return Mention(self.finding, self.status, **self.attributes)  # type: ignore[arg-type]

    def judge(self, status: Status | None, event: Event) -> None:
        """Lets a cue decide."""
        self.status, self.cue, self.rule = status, event, event.kind

    def can_become(self, status: Status) -> bool:
        """Whether one that is no finding of this film becomes one if this is said of it."""
        is_earlier = self.rule in ("prior", "after_event", "history")
        return is_earlier or (self.rule == "hypothetical" and status == "uncertain")
