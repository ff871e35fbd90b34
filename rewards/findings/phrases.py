"""Finds the phrases of a sentence: findings, parts of the body, states and cues, the longest at each place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from rewards.findings.ontology import END, Attribute, load_ontology
from rewards.findings.signs import is_sign
from rewards.findings.spelling import corrected

_WORD = re.compile(r"\b[a-z]/[a-z]\b|and/or|\d+(?:[.:/]\d+)+|[^\W_]+(?:'[a-z]+)?|[,:?()<>≥≤]")
_OWN_WORDS = ",:?()<>"
_CLOCK = re.compile(r"\d:\d")
_PLAIN = bytes(c if chr(c).isalnum() or chr(c) in _OWN_WORDS else ord(" ") for c in range(128)) + bytes(128)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FEW_WORDS = 7  # between a ratio and its value, or a finding and the place that it is in
_NORMAL_RATIO = 0.5  # of the widths of heart and chest
_HALVES = frozenset(["half", "fifty", "1/2"])
_ABOVE = frozenset(
    ["greater", "above", "exceeds", "exceed", "exceeding", "more", "over", "larger", ">", "≥", "higher", "wider"]
)
_BELOW = frozenset(["less", "below", "under", "smaller", "<", "≤", "lower", "within"])
_SPECIAL = frozenset(["Pericardial Effusion", "ratio"])
_OF_PLEURA = frozenset(
    ["Effusion", "Pneumothorax", "Hydropneumothorax", "Pleural Thickening"]
)  # may lie along the chest wall
_TO_ELSEWHERE = frozenset(["attribute", "within", "elsewhere", "resume"])


PlainEvent: TypeAlias = tuple[str, str, int, int, tuple[Attribute, ...]]
"""The fields of an `Event`."""


class Event(NamedTuple):
    """A phrase: its kind (a table of cues.toml, "finding", "part", "state" or "stop"), its payload, its words.

    Attributes:
        kind: what it is.
        payload: the finding, part or state.
        start: its first word.
        end: the word after its last.
        attributes: what it says of its finding.
    """

    kind: str
    payload: str
    start: int
    end: int
    attributes: tuple[Attribute, ...] = ()


def words_of(sentence: str) -> list[str]:
    """The words and marks of a sentence in lower case. Equals `_WORD.findall`, which a plain sentence doesn't need."""
    has_joined_words = "." in sentence or "'" in sentence or "/" in sentence
    if not sentence.isascii() or has_joined_words or (":" in sentence and _CLOCK.search(sentence)):
        return _WORD.findall(sentence)
    spaced = sentence.encode().translate(_PLAIN).decode()
    for mark in _OWN_WORDS:
        if mark in spaced:
            spaced = spaced.replace(mark, f" {mark} ")
    return spaced.split()


def spans_of(sentence: str) -> list[tuple[int, int]]:
    """Where the words of `words_of` stand in a sentence: first character, and the one after the last."""
    return [match.span() for match in _WORD.finditer(sentence.lower())]


def phrases_of(words: list[str]) -> list[Event]:
    """The phrases among words, in order; the last is a "stop". Without a topic there are no others."""
    return [Event._make(plain) for plain in plain_phrases(words)]


def plain_phrases(words: list[str]) -> Sequence[PlainEvent]:
    """`phrases_of` as plain tuples, which are made in half the time: most sentences have been read before."""
    ontology = load_ontology()
    count = len(words)
    different = set(words)
    mended = [word for word in different - ontology.words if word.isalpha() and corrected(word) != word]
    if mended:
        words = [corrected(word) if word in mended else word for word in words]
    elif different.isdisjoint(ontology.topic_words):
        return [("stop", "", count, count, ())]
    events: list[PlainEvent] = []
    special = False
    end = 0
    for position, node in enumerate(map(ontology.phrases.get, words)):
        if node is None or position < end:
            continue
        longest = node.get(END)
        end = ahead = position + 1
        while ahead < count:
            node = node.get(words[ahead])
            if node is None:
                break
            ahead += 1
            if END in node:
                longest, end = node[END], ahead
        if longest is not None and longest[0] != "ignored":
            kind, payload, attributes = longest
            events.append((kind, payload, position, end, attributes))
            special = special or kind == "elsewhere" or payload in _SPECIAL
    events.append(("stop", "", count, count, ()))
    return _read_specially([Event._make(plain) for plain in events], words) if special else events


def _read_specially(events: list[Event], words: list[str]) -> list[Event]:
    read: list[Event] = []
    for index, event in enumerate(events):
        if event.kind == "finding" and not is_sign(event.payload) and _is_elsewhere(events, index, words):
            if event.payload == "Emphysema":
                event = event._replace(payload="Subcutaneous Emphysema")
            else:
                continue
        if event.payload == "Pericardial Effusion":
            read += _shared_noun(event, words)
        read.append(event)
        if event.payload == "ratio":
            read += _ratio_state(event, words)
    return sorted(read, key=lambda event: event.start)


def _is_elsewhere(events: list[Event], index: int, words: list[str]) -> bool:
    """Whether the place just before a finding, or after it, is none of the lungs, pleura or heart."""
    finding = events[index]
    before = events[index - 1] if index else finding
    if before.kind == "elsewhere" and before.end == finding.start:
        return True
    for event in events[index + 1 :]:
        if event.kind == "elsewhere":
            is_chest_wall = words[event.end - 1] == "wall" and words[event.end - 2] == "chest"
            if is_chest_wall and finding.payload in _OF_PLEURA:
                return False
            return event.start - finding.end <= _FEW_WORDS
        if event.kind not in _TO_ELSEWHERE:
            return False
    return False


def _shared_noun(event: Event, words: list[str]) -> list[Event]:
    """ "Pleural or pericardial effusion": the pleural one, which has its noun from the other."""
    start = event.start
    if start >= 2 and words[start - 2] == "pleural" and words[start - 1] in ("or", "and", "and/or"):
        return [Event("finding", "Effusion", start - 2, start - 1)]
    return []


def _ratio_state(ratio: Event, words: list[str]) -> list[Event]:
    """Whether the number after "cardiothoracic ratio" is that of a large heart. A half alone tells nothing."""
    comparison = ""
    for position in range(ratio.end, min(len(words), ratio.end + _FEW_WORDS)):
        word = words[position]
        if word in _ABOVE:
            comparison = "above"
        elif word in _BELOW:
            comparison = "below"
        value = _ratio(word)
        if not 0.2 < value < 1:
            continue
        if not comparison and value == _NORMAL_RATIO:
            return []
        is_large = comparison == "above" or (comparison != "below" and value > _NORMAL_RATIO)
        return [Event("state", "enlarged" if is_large else "normal", position, position + 1)]
    return []


def _ratio(word: str) -> float:
    """The value of "0.55", "55" (per cent) or "half", 0 if the word is no number."""
    if word in _HALVES:
        return _NORMAL_RATIO
    if not _NUMBER.fullmatch(word):
        return 0.0
    return float(word) if "." in word and float(word) < 1 else float(word) / 100
