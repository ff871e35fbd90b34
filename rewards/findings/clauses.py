"""Splits the phrases of a sentence into statements: what a cue governs never reaches beyond its own.

A sentence is cut at words such as "but" and "with", and at each comma, "and" and "or" behind which a new statement
begins rather than the next member of a list:

    No edema, mass or nodule.                  one statement: a list
    No edema, small effusion.                  two: a size or side begins a new one
    No edema, cardiomegaly unchanged.          two: the second has a predicate of its own
    No edema and the heart is large.           two, likewise
    No edema or mass, cardiomegaly.            two: the list was closed by its "or"
    Edema, mass not excluded.                  two: the cue at the end is about the last part
    Edema, mass, and effusion are absent.      one: a list, and what is said of all of it
    History of mass, the heart is large.       two
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from rewards.findings.phrases import Event

Link = Literal["", "end", "question", "colon", "comma", "and", "or"]
"""What parts a statement from the one before."""

_LINKS: dict[str, Link] = {"end": "end", "question": "question", "comma": "comma", "and": "and", "or": "or"}
_STRENGTH: dict[Link, int] = {"": 0, "comma": 1, "and": 2, "or": 3, "colon": 4, "end": 4, "question": 5}
_FORWARD = {  # cues that govern what follows them, to the mood that they put a statement in
    "negation": "absent",
    "uncertain": "uncertain",
    "uncertain_weak": "uncertain",
    "differential": "differential",
    "history": "history",
    "after_event": "event",
    "prior": "history",
    "hypothetical": "history",
    "resolution": "absent",
}
_ABOUT = frozenset(["finding", "part"])
_PREDICATES = frozenset(["steady", "asserted", "resolved", "unresolved", "negation_after", "uncertain_after"])
_VERDICTS = frozenset(["negation_after", "uncertain_after", "resolved", "artifact_after"])
_STARTS = frozenset(["resume", "pronoun", "steady", "attribute"])


class Statement(NamedTuple):
    """The phrases of one statement.

    Attributes:
        link: what parts it from the statement before.
        start: its first word.
        end: the word after its last.
        events: its phrases, with the commas, "and" and "or" of its lists.
        is_question: whether a question mark ends it.
    """

    link: Link
    start: int
    end: int
    events: tuple[Event, ...]
    is_question: bool


class _Piece:
    """What lies between two separators."""

    def __init__(self, link: Link, start: int, separators: Sequence[Event]) -> None:
        self.link = link
        self.start = start
        self.end = start  # the word after its last
        self.separators = list(separators)
        self.has_comma = "comma" in [event.kind for event in separators]
        self.events: list[Event] = []
        self.is_question = False
        self.has_finding = False

    def add(self, event: Event) -> None:
        self.events.append(event)
        if event.kind in _ABOUT:
            self.has_finding = True

    @cached_property
    def mood(self) -> str:
        """The mood that a cue of its own puts it in, or "" if none comes before its first finding."""
        for event in self.events:
            if event.kind in _FORWARD:
                return _FORWARD[event.kind]
            if event.kind in _ABOUT:
                break
            if event.kind == "resolved" and self.has_finding:
                return "absent"  # "resolved effusion"
        return ""

    @property
    def last_mood(self) -> str:
        """The mood after its last cue, or ""."""
        for event in reversed(self.events):
            if event.kind in _FORWARD:
                return _FORWARD[event.kind]
        return self.mood

    @cached_property
    def predicate(self) -> str:
        """The kind of what it says of its own finding, "shown" if that is just "is seen", or ""."""
        about = ""
        for index, event in enumerate(self.events):
            if event.kind in _ABOUT:
                about = event.kind
            elif not about:
                continue
            elif event.kind in _PREDICATES or event.kind == "shown":
                return event.kind
            elif event.kind == "verb":
                following = self.events[index + 1].kind if index + 1 < len(self.events) else ""
                return following if following in _PREDICATES or following == "shown" else "verb"
            elif event.kind == "state" and (about == "part" or event.payload in ("increased", "enlarged")):
                return "state"
        return ""

    @property
    def has_own_predicate(self) -> bool:
        return self.predicate not in ("", "shown")

    @property
    def has_verb(self) -> bool:
        return self.predicate != "" or any(event.kind == "verb" for event in self.events)

    @property
    def begins_as_statement(self) -> bool:
        """Whether it begins with a word such as "the", "stable", "small" or "left"."""
        if not self.events or self.events[0].start != self.start:
            return False
        if self.events[0].kind == "state" and self.events[0].payload == "large" and len(self.events) > 1:
            return self.events[1].kind == "attribute"  # "large left effusion"
        return self.events[0].kind in _STARTS

    @property
    def is_row(self) -> bool:
        """Whether it begins with a finding and a colon, as a row of a table does."""
        for event, following in zip(self.events, self.events[1:], strict=False):
            if event.kind in _ABOUT:
                return following.kind == "colon" and following.start == event.end
        return False


def statements_of(events: Sequence[Event]) -> list[Statement]:
    """The statements of a sentence, in order."""
    pieces = _pieces(events)
    if len(pieces) == 1:
        return [_joined(pieces)]
    statements: list[list[_Piece]] = []
    mood, seen = "", False  # of the statement at hand: its last cue's mood, and whether a finding followed that cue
    for index, piece in enumerate(pieces):
        if not statements or _begins(pieces, index, statements[-1], mood, seen):
            statements.append([])
            mood, seen = ("differential" if mood == "differential" else ""), False
        statements[-1].append(piece)
        last_mood = piece.last_mood
        if last_mood:
            mood, seen = last_mood, False
        seen = seen or piece.has_finding
    return [_joined(statement) for statement in statements]


def _pieces(events: Sequence[Event]) -> list[_Piece]:
    pieces = [_Piece("", 0, ())]
    separators: list[Event] = []
    for event in events:
        link = _LINKS.get(event.kind)
        if link is not None:
            if link == "question":
                pieces[-1].is_question = True
            if not separators:
                pieces[-1].end = event.start
            separators.append(event)
            continue
        if separators:
            if event.kind != "stop":
                pieces.append(_Piece(_strongest(separators), separators[-1].end, separators))
            separators = []
        if event.kind != "stop":
            pieces[-1].add(event)
        pieces[-1].end = event.end
    return pieces


def _strongest(separators: Sequence[Event]) -> Link:
    if len(separators) == 1:
        return _LINKS[separators[0].kind]
    return max((_LINKS[separator.kind] for separator in separators), key=_STRENGTH.__getitem__)


def _joined(pieces: list[_Piece]) -> Statement:
    events = list(pieces[0].events)
    for piece in pieces[1:]:
        events += piece.separators
        events += piece.events
    return Statement(pieces[0].link, pieces[0].start, pieces[-1].end, tuple(events), pieces[-1].is_question)


def _begins(pieces: list[_Piece], index: int, statement: list[_Piece], mood: str, seen: bool) -> bool:
    """Whether a piece begins a new statement."""
    piece = pieces[index]
    if piece.link in ("end", "question") or piece.is_row:
        return True
    if piece.mood:
        return not (piece.link == "or" and mood == "absent" and piece.mood == "uncertain")
    if not piece.has_finding:
        return mood == "event" and piece.has_comma
    if piece.link == "or":
        return False
    if mood == "absent":
        return _leaves_denial(pieces, index, statement)
    if mood in ("history", "event"):
        begins_bare = bool(piece.events) and piece.events[0].kind == "finding"
        is_apart = piece.has_comma and (mood == "event" or not begins_bare)
        return is_apart or piece.has_own_predicate or piece.begins_as_statement
    if mood in ("uncertain", "differential"):
        if piece.has_own_predicate:
            return True
        return mood == "uncertain" and piece.link == "comma" and seen and not _or_follows(pieces, index)
    return _has_own_verdict(piece, statement)


def _leaves_denial(pieces: list[_Piece], index: int, statement: list[_Piece]) -> bool:
    """Whether a piece after "no …" and a comma or "and" is no member of the denied list."""
    piece = pieces[index]
    if piece.has_own_predicate:
        return True
    if _or_follows(pieces, index):
        return False
    is_closed = piece.has_comma and any(earlier.link == "or" for earlier in statement)
    return piece.begins_as_statement or is_closed


def _has_own_verdict(piece: _Piece, statement: list[_Piece]) -> bool:
    """Whether what a piece of an asserting statement says is said of it alone, not of the list that it ends."""
    if not piece.has_own_predicate:
        return False
    if any(earlier.has_verb for earlier in statement):
        return True
    if piece.link == "comma":
        return piece.predicate in _VERDICTS
    return piece.has_comma and len(statement) == 1


def _or_follows(pieces: list[_Piece], index: int) -> bool:
    """Whether the list that a piece is in is ended by an "or"."""
    for piece in pieces[index + 1 :]:
        if piece.link == "or":
            return True
        if piece.link in ("end", "question") or piece.mood or piece.has_own_predicate:
            return False
    return False
