"""Reads the phrases of a sentence: which findings it asserts, denies or leaves open.

A cue sets the status of what follows it, or changes the status of what came before, up to the end of its scope. Scopes
end with the sentence, with words such as "but", and where a comma, an "and" or a verb begins a new statement.

Each line below has a sentence, what is read from it (+ present, - absent, ? uncertain) and the cue or rule at work,
whose handler is `on_…`:

    There is edema.                                     +Edema                  no cue
    No edema, mass or nodule.                           -Edema -Mass -Nodule    negation, up to the end of the list
    No edema, but a mass is seen.                       -Edema +Mass            end: "but" closes the scope
    No pneumothorax, the heart is enlarged.             -Pneumothorax +Cardiomegaly   separate, verb: a new statement
    Effusion has resolved.                              -Effusion               negation_after
    Possible edema.                                     ?Edema                  uncertain
    Effusion suspected.                                 ?Effusion               uncertain_weak, after what it is about
    Mass cannot be excluded.                            ?Mass                   uncertain_after
    Edema versus pneumonia.                             ?Edema ?Pneumonia       versus
    Edema?                                              ?Edema                  question
    Edema: no.                                          -Edema                  colon, then a negation
    History of effusion.                                                        history: not a finding of this film
    The heart is enlarged.                              +Cardiomegaly           part and state
    The heart is normal.                                -Cardiomegaly           part in the state "normal"
    Left effusion.                                      +Effusion:left          side
    Edema, left more than right.                        +Edema:left             side, after its finding
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rewards.findings.ontology import load_ontology

Status = Literal["present", "absent", "uncertain"]
Side = Literal["", "left", "right", "bilateral"]
Severity = Literal["", "mild", "moderate", "severe"]
Event = tuple[str, str, int, int]
"""Kind of phrase, payload, first word, word after the last. A sentence ends with the kind "stop"."""
_NEAR = 10  # words between a part of the body and its state, or between a finding and its side


class Mention(NamedTuple):
    """One finding as a text mentions it: canonical name, status, and the side if the text gives one."""

    finding: str
    status: Status
    side: Side = ""
    severity: Severity = ""
    place: str = ""


@dataclass(slots=True)
class _Entry:
    """A mention whose status and side may still change. The status is None if it is history, not a finding."""

    finding: str
    status: Status | None
    side: Side
    start: int  # its first word


class SentenceReader:
    """Reads the phrases of one sentence from left to right. `on_…` handles the phrases of one kind."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.ontology = load_ontology()
        self.index = 0  # of the event at hand
        self.found: list[_Entry] = []
        self.status: Status | None = "present"  # of the next mention; None: it is history, not a finding
        self.block = 0  # index of the first mention that a cue after it applies to
        self.verb_since = False  # a verb has followed the last mention
        self.uncertain_at = 0  # number of mentions before the last sign of uncertainty
        self.is_differential = False  # all that follows is uncertain
        self.cue_end = -9  # word after the last negation
        self.but_end: int | None = None  # word after a "but" that no mention has followed yet
        self.boundary: int | None = None  # number of mentions before the last comma or "and" within a negation
        self.parts: list[tuple[str, int]] = []  # parts of the body, each with the word after it
        self.is_described = False  # the parts have got their state
        self.state: tuple[str, int] | None = None  # a state that waits for its part, with the word after it
        self.side: tuple[Side, int] = ("", -99)  # the last side, with the word after it

    def read(self) -> tuple[Mention, ...]:
        """The mentions of the sentence, without those that are history."""
        for index, (kind, payload, start, end) in enumerate(self.events):
            self.index = index
            handler = _HANDLERS.get(kind)
            if handler is not None:
                handler(self, payload, start, end)
        return tuple(Mention(e.finding, e.status, e.side) for e in self.found if e.status is not None)

    def kind_after(self, end: int) -> str:
        """The kind of the next phrase if it begins at word `end`, else ""."""
        following = self.index + 1
        return self.events[following][0] if self.events[following][2] == end else ""

    def kinds_before(self) -> list[str]:
        """The kinds of the two phrases before this one."""
        return [event[0] for event in self.events[max(0, self.index - 2) : self.index]]

    def mention(self, finding: str, status: Status | None, start: int) -> None:
        if self.verb_since:
            self.block, self.verb_since = len(self.found), False
        self.but_end = None
        side, side_end = self.side
        self.found.append(_Entry(finding, status, side if start - side_end <= _NEAR else "", start))

    def on_finding(self, finding: str, start: int, end: int) -> None:
        self.mention(finding, self.status, start)
        self.state = None

    def on_part(self, part: str, start: int, end: int) -> None:
        if self.is_described:
            self.parts, self.is_described = [], False
        self.parts.append((part, end))
        if self.state is not None:
            state, state_end = self.state
            if start - state_end <= 4 and self.describe([part], state, start):
                self.is_described, self.state = True, None

    def on_state(self, state: str, start: int, end: int) -> None:
        following = self.index + 1
        if self.events[following][0] == "finding" and self.events[following][2] - end <= 1:
            return  # "a large effusion" says nothing about the heart
        is_alternative = any(kind == "or" for kind in self.kinds_before())  # "normal or mildly enlarged"
        near: list[str] = []
        if is_alternative or not self.is_described:
            near = [part for part, part_end in self.parts if start - part_end <= _NEAR]
        if self.describe(near, state, start):
            self.is_described = True
        elif state != "normal" or self.status != "absent":
            self.state = (state, end)

    def describe(self, parts: list[str], state: str, start: int) -> bool:
        """Mentions the findings of parts in a state. Returns whether the state fits the parts."""
        if state == "normal":
            for part in parts if self.status != "absent" else ():
                for name in self.ontology.of_part[part]:
                    self.mention(name, "absent", start)
            return bool(parts)
        names = [self.ontology.pairs[part, state] for part in parts if (part, state) in self.ontology.pairs]
        for name in names:
            self.mention(name, self.status, start)
        return bool(names)

    def on_negation(self, _: str, start: int, end: int) -> None:
        if self.kinds_before() == ["finding", "colon"]:
            self.found[-1].status = "absent"  # "Edema: no …"
        self.status, self.cue_end, self.boundary = "absent", end, None

    def on_negation_after(self, _: str, start: int, end: int) -> None:
        self.after("absent", start, end)

    def on_uncertain(self, _: str, start: int, end: int) -> None:
        if self.status != "absent" or start - self.cue_end > 1:
            self.status, self.uncertain_at = "uncertain", len(self.found)

    def on_uncertain_weak(self, _: str, start: int, end: int) -> None:
        before = self.events[self.index - 1][0] if self.index else ""
        if self.status == "absent" and before not in ("comma", "and"):
            return
        if self.kind_after(end) in ("stop", "comma") and self.found[self.block :]:
            self.after("uncertain", start, end)  # "effusion suspected"
        else:
            self.status, self.uncertain_at = "uncertain", len(self.found)

    def on_differential(self, _: str, start: int, end: int) -> None:
        self.status, self.is_differential = "uncertain", True

    def on_uncertain_after(self, _: str, start: int, end: int) -> None:
        self.after("uncertain", start, end)

    def on_question(self, _: str, start: int, end: int) -> None:
        self.after("uncertain", start, end)

    def after(self, status: Status, start: int, end: int) -> None:
        """Applies a cue to the mentions before it or, if there are none, to those that follow."""
        if self.but_end is not None and start - self.but_end > 1:
            return  # "effusion, but a fistula cannot be excluded": the cue is about something unknown
        block = [entry for entry in self.found[self.block :] if entry.status is not None]
        for entry in block:
            entry.status = status
        self.status = "present" if block else status
        self.cue_end = end

    def on_history(self, _: str, start: int, end: int) -> None:
        self.status = None

    def on_end(self, _: str, start: int, end: int) -> None:
        if self.status != "uncertain" or (len(self.found) > self.uncertain_at and not self.is_differential):
            self.status = "present"
        self.verb_since, self.boundary, self.but_end = True, None, end
        self.parts, self.is_described, self.state = [], False, None
        self.leave_side()

    def on_comma(self, _: str, start: int, end: int) -> None:
        self.separate(end, comma=True)
        self.state = None
        self.leave_side()

    def leave_side(self) -> None:
        """Forgets the side after the statement whose finding has it."""
        if self.found:
            self.side = ("", -99)

    def on_and(self, _: str, start: int, end: int) -> None:
        self.separate(end, comma=False)

    def separate(self, end: int, comma: bool) -> None:
        """A comma or an "and": decides whether a new statement begins."""
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
            and not self.is_differential
            and len(self.found) > self.uncertain_at
            and not self.or_follows()
        ):
            self.status, self.verb_since = "present", True

    def or_follows(self) -> bool:
        """Whether this comma or "and" is within a list that an "or" ends."""
        return any(event[0] == "or" for event in self.events[self.index :])

    def on_or(self, _: str, start: int, end: int) -> None:
        self.boundary = None

    def on_versus(self, _: str, start: int, end: int) -> None:
        if self.status == "present":
            if self.found[self.block :] and self.found[-1].status == "present":
                self.found[-1].status = "uncertain"
            self.status, self.uncertain_at = "uncertain", len(self.found)

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
                entry.status = "present"
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
        if self.found and not self.found[-1].side and start - self.found[-1].start <= _NEAR:
            self.found[-1].side = side


_HANDLERS = {
    name.removeprefix("on_"): method for name, method in vars(SentenceReader).items() if name.startswith("on_")
}
