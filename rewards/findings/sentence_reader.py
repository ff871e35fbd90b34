"""Reads the phrases of a sentence: which findings it asserts, denies or leaves open.

A cue sets the status of what follows it, or changes that of what came before, up to the end of its scope. Scopes end
with the sentence, with words such as "but", and where a comma, an "and" or a verb shows that a new statement has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rewards.findings.ontology import load_ontology

Status = Literal["present", "absent", "uncertain"]
Side = Literal["", "left", "right", "bilateral"]
Event = tuple[str, str, int, int]
"""Kind of phrase, payload, first word, word after the last. A sentence ends with the kind "stop"."""
_NEAR = 10  # words between a part of the body and what it looks like, or between a finding and its side


class Mention(NamedTuple):
    """One finding as a text speaks of it: canonical name, status and the side that the text gives it."""

    finding: str
    status: Status
    side: Side = ""


class Reader:
    """Reads the phrases of one sentence from left to right; `on_…` says what a kind of phrase does."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.ontology = load_ontology()
        self.found: list[list] = []  # [finding, status, side, first word]
        self.status: Status | None = "present"  # of what comes next; None: it is history, not a finding
        self.block = 0  # first of the mentions to which a cue after them belongs
        self.verb_since = False  # since the last mention
        self.cue_at = 0  # mentions before the last sign of uncertainty
        self.open_list = False  # a differential: all that follows is uncertain
        self.cue_end = -9  # word after the last negation
        self.end: int | None = None  # word after a "but" that no mention has followed yet
        self.boundary: int | None = None  # mentions before the last comma or "and" of a negation's scope
        self.parts: list[tuple[str, int]] = []  # parts of the body that wait for a state, with their last word
        self.described = False  # they have theirs
        self.state: tuple[str, int] | None = None  # a state that waits for its part
        self.side: tuple[Side, int] = ("", -99)

    def read(self) -> tuple[Mention, ...]:
        """The mentions of the sentence; what is only its history is left out."""
        for self.index, (kind, payload, start, end) in enumerate(self.events):
            handler = _HANDLERS.get(kind)
            if handler is not None:
                handler(self, payload, start, end)
        return tuple(Mention(name, status, side) for name, status, side, _ in self.found if status is not None)

    def kind_after(self, end: int) -> str:
        """Kind of the phrase that begins at word `end`, "" where none does."""
        following = self.index + 1
        return self.events[following][0] if self.events[following][2] == end else ""

    def mention(self, finding: str, status: Status | None, start: int) -> None:
        if self.verb_since:
            self.block, self.verb_since = len(self.found), False
        self.end = None
        side, where = self.side
        self.found.append([finding, status, side if start - where <= _NEAR else "", start])

    def on_finding(self, finding: str, start: int, end: int) -> None:
        self.mention(finding, self.status, start)
        self.state = None

    def on_part(self, part: str, start: int, end: int) -> None:
        if self.described:
            self.parts, self.described = [], False
        self.parts.append((part, end))
        if self.state is not None:
            state, after = self.state
            if start - after <= 4 and self.describe([part], state, start):
                self.described, self.state = True, None

    def on_state(self, state: str, start: int, end: int) -> None:
        following = self.index + 1
        if self.events[following][0] == "finding" and self.events[following][2] - end <= 1:
            return  # a large effusion says nothing of the heart
        # "normal or mildly enlarged"
        again = any(event[0] == "or" for event in self.events[max(0, self.index - 2) : self.index])
        near = [part for part, after in self.parts if start - after <= _NEAR] if again or not self.described else []
        if self.describe(near, state, start):
            self.described = True
        elif state != "normal" or self.status != "absent":
            self.state = (state, end)

    def describe(self, parts: list[str], state: str, start: int) -> bool:
        """Mentions the findings of parts in a state; whether there are any."""
        if state == "normal":
            names = [name for part in parts for name in self.ontology.of_part[part]] if self.status != "absent" else []
            for name in names:
                self.mention(name, "absent", start)
            return bool(parts)
        names = [self.ontology.pairs[part, state] for part in parts if (part, state) in self.ontology.pairs]
        for name in names:
            self.mention(name, self.status, start)
        return bool(names)

    def on_negation(self, _: str, start: int, end: int) -> None:
        if [event[0] for event in self.events[max(0, self.index - 2) : self.index]] == ["finding", "colon"]:
            self.found[-1][1] = "absent"  # "Edema: no …"
        self.status, self.cue_end, self.boundary = "absent", end, None

    def on_negation_after(self, _: str, start: int, end: int) -> None:
        self.after("absent", start, end)

    def on_uncertain(self, _: str, start: int, end: int) -> None:
        if self.status != "absent" or start - self.cue_end > 1:
            self.status, self.cue_at = "uncertain", len(self.found)

    def on_uncertain_weak(self, _: str, start: int, end: int) -> None:
        before = self.events[self.index - 1][0] if self.index else ""
        if self.status == "absent" and before not in ("comma", "and"):
            return
        if self.kind_after(end) in ("stop", "comma") and self.found[self.block :]:
            self.after("uncertain", start, end)  # "effusion suspected"
        else:
            self.status, self.cue_at = "uncertain", len(self.found)

    def on_differential(self, _: str, start: int, end: int) -> None:
        self.status, self.open_list = "uncertain", True

    def on_uncertain_after(self, _: str, start: int, end: int) -> None:
        self.after("uncertain", start, end)

    def on_question(self, _: str, start: int, end: int) -> None:
        self.after("uncertain", start, end)

    def after(self, status: Status, start: int, end: int) -> None:
        """A cue that belongs to the mentions before it, or, where there are none, to those that follow."""
        if self.end is not None and start - self.end > 1:
            return  # "effusion, but a fistula cannot be excluded": it is said of something unknown
        block = [entry for entry in self.found[self.block :] if entry[1] is not None]
        for entry in block:
            entry[1] = status
        self.status = "present" if block else status
        self.cue_end = end

    def on_history(self, _: str, start: int, end: int) -> None:
        self.status = None

    def on_end(self, _: str, start: int, end: int) -> None:
        if self.status != "uncertain" or (len(self.found) > self.cue_at and not self.open_list):
            self.status = "present"
        self.verb_since, self.boundary, self.end = True, None, end
        self.parts, self.described, self.state = [], False, None
        self.leave_side()

    def on_comma(self, _: str, start: int, end: int) -> None:
        self.separate(end, comma=True)
        self.state = None
        self.leave_side()

    def leave_side(self) -> None:
        """A side goes no further than the statement whose finding has it."""
        if self.found:
            self.side = ("", -99)

    def on_and(self, _: str, start: int, end: int) -> None:
        self.separate(end, comma=False)

    def separate(self, end: int, comma: bool) -> None:
        following = self.kind_after(end)
        if self.status is None:
            if comma and following != "finding":
                self.status = "present"
        elif self.status == "absent":
            if following in ("resume", "uncertain_weak") and not self.or_follows():
                self.status, self.verb_since = "present", True
            else:
                self.boundary = len(self.found)
        elif (
            self.status == "uncertain"
            and comma
            and not self.open_list
            and len(self.found) > self.cue_at
            and not self.or_follows()
        ):
            self.status, self.verb_since = "present", True

    def or_follows(self) -> bool:
        """Whether this comma or "and" stands within a list that an "or" ends."""
        return any(event[0] == "or" for event in self.events[self.index :])

    def on_or(self, _: str, start: int, end: int) -> None:
        self.boundary = None

    def on_versus(self, _: str, start: int, end: int) -> None:
        if self.status == "present":
            if self.found[self.block :] and self.found[-1][1] == "present":
                self.found[-1][1] = "uncertain"
            self.status, self.cue_at = "uncertain", len(self.found)

    def on_colon(self, _: str, start: int, end: int) -> None:
        if self.status == "absent":
            self.status = "present"

    def on_verb(self, _: str, start: int, end: int) -> None:
        self.verb_since = True
        if (
            self.status == "absent"
            and self.boundary is not None
            and self.kind_after(end) not in ("shown", "negation_after")
        ):
            for entry in self.found[self.boundary :]:
                entry[1] = "present"
            self.status, self.block, self.boundary = "present", self.boundary, None

    def on_left(self, _: str, start: int, end: int) -> None:
        self.beside("left", start, end)

    def on_right(self, _: str, start: int, end: int) -> None:
        self.beside("right", start, end)

    def on_bilateral(self, _: str, start: int, end: int) -> None:
        self.beside("bilateral", start, end)

    def beside(self, side: Side, start: int, end: int) -> None:
        self.side = (side, end)
        kind, _, following, _ = self.events[self.index + 1]
        if kind == "finding" and following - end <= 4:
            return  # it is the side of what follows
        if self.found and not self.found[-1][2] and start - self.found[-1][3] <= _NEAR:
            self.found[-1][2] = side


_HANDLERS = {name.removeprefix("on_"): method for name, method in vars(Reader).items() if name.startswith("on_")}
