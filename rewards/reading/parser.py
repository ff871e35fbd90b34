"""Reads the interleaved format: `<think>…</think><answer>…</answer>`, repeated."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from rewards.reading.plain import is_blank, skip_blank

TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE | re.ASCII)
_OPEN = re.compile("<think>", re.IGNORECASE | re.ASCII)
_PAIR = re.compile(r"\s*+(<think>)([^<]*)</think>\s*+<answer>([^<]*)</answer>\s*+", re.ASCII)
MAX_FAULTS = 20  # reported of one response; a babbling one has thousands
MAX_PAIRS = 100  # no film needs more steps; the parser reads no further


class FormatFault(NamedTuple):
    """What breaks the format, in words, and the position of the character at which it does, from 0."""

    what: str
    position: int

    def __str__(self) -> str:
        return f"{self.what} at {self.position}"


class Pair(NamedTuple):
    """One closed think–answer pair.

    Characters `start` to `end` of the response, tags included, end exclusive; and what the tags hold.
    """

    start: int
    end: int
    think: str
    answer: str


class Parsed(NamedTuple):
    """The closed pairs of a response in order, and its faults.

    A pair with an empty think or answer is both a pair and a fault. Reading ends after `MAX_PAIRS` pairs or
    `MAX_FAULTS` faults.
    """

    pairs: tuple[Pair, ...]
    faults: tuple[FormatFault, ...]


class _State(Enum):
    OUTSIDE = auto()
    THINK = auto()
    BETWEEN = auto()  # after </think>, before <answer>
    ANSWER = auto()
    LOST = auto()  # after a fault, until the next <think>, so that each mistake is reported once


_NEXT = {
    (_State.OUTSIDE, "<think>"): _State.THINK,
    (_State.THINK, "</think>"): _State.BETWEEN,
    (_State.BETWEEN, "<answer>"): _State.ANSWER,
    (_State.ANSWER, "</answer>"): _State.OUTSIDE,
}
_EXPECTED_TAG = dict(_NEXT.keys())


def parse(response: str) -> Parsed:
    """The pairs and faults of a response. Never raises; takes time linear in its length.

    White space and invisible characters are allowed around pairs and between a think and its answer, end-of-turn tokens
    after the last pair; other text there is a fault. Tags may be written in any case. After a fault, reading goes on at
    the next `<think>`.
    """
    return _parse_sound(response) or _parse_any(response)


def _parse_sound(response: str) -> Parsed | None:
    """A shortcut for a response of simple pairs in lower case and nothing else, as most are; None for any other."""
    pairs: list[Pair] = []
    position = 0
    while match := _PAIR.match(response, position):
        think, answer = match[2], match[3]
        pairs.append(Pair(match.start(1), match.end(3) + len("</answer>"), think, answer))
        position = match.end()
        if is_blank(think) or is_blank(answer) or len(pairs) > MAX_PAIRS:
            return None
    return Parsed(tuple(pairs), ()) if pairs and position == len(response) else None


def _parse_any(response: str) -> Parsed:
    pairs: list[Pair] = []
    faults: list[FormatFault] = []
    state = _State.OUTSIDE
    start = body = 0  # of the open pair, and of the text after its last tag
    think = ""
    surplus = False  # whether a second </answer> closes a second <answer>
    done = 0  # everything before this character has been read

    def fault(words: str, position: int) -> None:
        if len(faults) < MAX_FAULTS:
            faults.append(FormatFault(words, position))

    while len(faults) < MAX_FAULTS:
        next_tag = _OPEN if state is _State.LOST else TAG
        match = next_tag.search(response, done)
        if match is None:
            break
        tag, position = match.group().lower(), match.start()
        state = _read_gap(state, response[done:position], done, False, fault)
        done = match.end()
        following = _NEXT.get((state, tag))
        if (state, tag) == (_State.ANSWER, "<answer>") and is_blank(response[body:position]):
            fault(_misplaced(state, tag), position)
            surplus, body = True, done  # "<answer><answer>B</answer></answer>": one answer, written twice over
            continue
        if (state, tag) == (_State.OUTSIDE, "</answer>") and surplus:
            surplus, body = False, done
            continue
        surplus = surplus and following is _State.OUTSIDE
        if following is None:
            if state is not _State.LOST:
                fault(_misplaced(state, tag), position)
            # A <think> may begin a sound pair, wherever it is.
            following = _State.THINK if tag == "<think>" else _State.LOST
        if following is _State.THINK:
            start = position
        elif following is _State.BETWEEN:
            think = response[body:position]
            if is_blank(think):
                fault("empty think", body)
        elif following is _State.OUTSIDE:
            answer = response[body:position]
            if is_blank(answer):
                fault("empty answer", body)
            pairs.append(Pair(start, done, think, answer))
            if len(pairs) == MAX_PAIRS:
                if skip_blank(response[done:], at_end=True) < len(response) - done:
                    fault(f"more than {MAX_PAIRS} pairs", done)
                return Parsed(tuple(pairs), tuple(faults))
        body = done
        state = following

    state = _read_gap(state, response[done:], done, bool(pairs), fault)
    if state in _EXPECTED_TAG and state is not _State.OUTSIDE:
        fault(f"unclosed pair: {_EXPECTED_TAG[state]} is missing", len(response))
    if not pairs:
        faults.insert(0, FormatFault("no pair of think and answer", 0))
    return Parsed(tuple(pairs), tuple(faults[:MAX_FAULTS]))


def _read_gap(state: _State, text: str, offset: int, at_end: bool, fault: Callable[[str, int], None]) -> _State:
    """The state after the text between two tags, or after the last one. Words outside the blocks are a fault."""
    if state not in (_State.OUTSIDE, _State.BETWEEN):
        return state
    blank = skip_blank(text, at_end)
    if blank == len(text):
        return state
    position = offset + blank
    if state is _State.OUTSIDE:
        fault("text outside pairs", position)
        return state
    fault("text between think and answer", position)
    return _State.LOST


def _misplaced(state: _State, tag: str) -> str:
    if state is _State.OUTSIDE:
        return "answer without a think" if tag == "<answer>" else f"{tag} closes nothing"
    if state is _State.BETWEEN:
        return f"{tag} where <answer> was expected"
    kind = "nested" if not tag.startswith("</") else "swapped"
    return f"{kind} tag: {tag} where {_EXPECTED_TAG[state]} was expected"
