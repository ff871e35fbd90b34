"""Reads which findings a radiology text asserts, denies or leaves open.

A text becomes words; the ontology's trie finds the phrases among them in one pass; a small state machine reads the
phrases of a sentence from left to right. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from rewards.findings.ontology import END, load_ontology
from rewards.findings.sentence_reader import Event, Mention, SentenceReader
from rewards.findings.signs import is_sign

Labels = Literal["nih", "chexpert", "cxr_lt", "all"]

_PARAGRAPH_END = re.compile(r"\n\s*\n")
# Not the dot of 1.5 or "vs."; a sentence goes on in the next line if that begins in lower case.
# The pattern begins with one set of characters because `re` searches much faster that way.
_SENTENCE_END = re.compile(
    r"[;!\n.](?:(?<=[;!])|(?<=\n)(?![^\S\n]*[a-z])|(?<=\.)(?<!\b[vV]s\.)(?<!\b[dD]r\.)(?:(?!\d)|(?<!\d\.)))"
)
_WORD = re.compile(r"[hrsw]/[ops]\b|and/or|\d+(?:[.:/]\d+)+|[^\W_]+(?:'[a-z]+)?|[,:?()]")
_OWN_WORDS = ",:?()"
_CLOCK = re.compile(r"\d:\d")
_PLAIN = bytes(c if chr(c).isalnum() or chr(c) in _OWN_WORDS else ord(" ") for c in range(128)) + bytes(128)
_HEADINGS = {"skipped_sections", "read_sections"}
_ABOUT_FINDINGS = {"finding", "part"}  # a sentence without one of these mentions no finding
_MAX_SENTENCE = 1000  # characters; anything longer is not a sentence and is read in pieces


@dataclass(frozen=True)
class Mentions:
    """The findings that a text mentions, in its order.

    `present`, `absent` and `uncertain` are disjoint sets of NIH ChestX-ray14 names; `within` gives other label sets.
    """

    mentions: tuple[Mention, ...]

    @cached_property
    def _nih(self) -> dict[str, frozenset[str]]:
        return self.within("nih")

    @property
    def present(self) -> frozenset[str]:
        return self._nih["present"]

    @property
    def absent(self) -> frozenset[str]:
        return self._nih["absent"]

    @property
    def uncertain(self) -> frozenset[str]:
        return self._nih["uncertain"]

    def within(self, labels: Labels) -> dict[str, frozenset[str]]:
        """Status to the labels of a set: "nih", "chexpert", "cxr_lt" or "all" canonical names.

        If a finding has two statuses, the surer counts: present before uncertain before absent. A finding that is
        present or uncertain gives its status to everything that it is a kind of; one that is denied denies only itself.
        """
        by_status: dict[str, set[str]] = {"present": set(), "uncertain": set(), "absent": set()}
        findings = load_ontology().findings
        for name, status in {(mention.finding, mention.status) for mention in self.mentions}:
            kinds = (name,) if status == "absent" else findings[name].ancestors
            if labels == "all":
                by_status[status].update(kinds)
                continue
            for kind in kinds:
                label = getattr(findings[kind], labels)
                if label:
                    by_status[status].add(label)
        by_status["uncertain"] -= by_status["present"]
        by_status["absent"] -= by_status["present"] | by_status["uncertain"]
        return {status: frozenset(names) for status, names in by_status.items()}


def extract(text: str) -> Mentions:
    """The findings that a text mentions. Never raises, whatever the text; takes time linear in its length.

    Signs that are no findings (signs.toml) are left out: they count in the grounding of think blocks alone.
    Sections such as "Indication:" and "Comparison:" are skipped, up to a blank line or a heading such as "Findings:".
    """
    return Mentions(tuple(mention for mention in mentions_of(text) if not is_sign(mention.finding)))


def mentions_of(text: str) -> list[Mention]:
    """The mentions of `extract` and those of signs, as a plain list in the order of the text."""
    if not text.isascii():
        text = text.replace("’", "'")
    if "\n" not in text:
        return _in_paragraph(text)
    paragraphs = _PARAGRAPH_END.split(text.replace("\r\n", "\n"))
    return [mention for paragraph in paragraphs for mention in _in_paragraph(paragraph)]


def _in_paragraph(paragraph: str) -> list[Mention]:
    mentions: list[Mention] = []
    is_skipping = False
    for sentence in _SENTENCE_END.split(paragraph):
        for piece in _pieces(sentence):
            for heading, found in _read(piece):
                if heading:
                    is_skipping = heading == "skipped_sections"
                if found and not is_skipping:
                    mentions += found
    return mentions


def _pieces(sentence: str) -> Sequence[str]:
    if len(sentence) <= _MAX_SENTENCE:
        return (sentence,)
    return [sentence[start : start + _MAX_SENTENCE] for start in range(0, len(sentence), _MAX_SENTENCE)]


@lru_cache(maxsize=4096)  # reports repeat their sentences, and so do responses that babble
def _read(sentence: str) -> tuple[tuple[str, tuple[Mention, ...]], ...]:
    """The parts of a sentence: the kind of heading that each begins with, "" for none, and its mentions."""
    events = _phrases(sentence.lower())
    kinds = {event[0] for event in events}
    if kinds.isdisjoint(_HEADINGS):
        return () if kinds.isdisjoint(_ABOUT_FINDINGS) else (("", _mentions(tuple(events))),)
    parts = []
    heading, start = "", 0
    for index, (kind, _, word, _) in enumerate(events):
        if kind in _HEADINGS or kind == "stop":
            stop = ("stop", "", word, word)
            parts.append((heading, SentenceReader([*events[start:index], stop]).read()))
            heading, start = kind, index + 1
    return tuple(parts)


@lru_cache(maxsize=4096)  # sentences that differ only in a place or a number have the same phrases
def _mentions(events: tuple[Event, ...]) -> tuple[Mention, ...]:
    return SentenceReader(events).read()


def _words(sentence: str) -> list[str]:
    """`_WORD.findall`, with a shortcut for a sentence of nothing but letters, digits and plain punctuation."""
    has_joined_words = "." in sentence or "'" in sentence or "/" in sentence
    if not sentence.isascii() or has_joined_words or (":" in sentence and _CLOCK.search(sentence)):
        return _WORD.findall(sentence)
    spaced = sentence.encode().translate(_PLAIN).decode()
    for mark in _OWN_WORDS:
        if mark in spaced:
            spaced = spaced.replace(mark, f" {mark} ")
    return spaced.split()


def _phrases(sentence: str) -> list[Event]:
    """The phrases of a sentence, in order, the longest at each place."""
    ontology = load_ontology()
    words = _words(sentence)
    count = len(words)
    base_word = ontology.base_words.get
    events: list[Event] = []
    end = 0
    for position, node in enumerate(map(ontology.phrases.get, words)):
        if node is None or position < end:
            continue
        longest = node.get(END)
        end = ahead = position + 1
        while ahead < count:
            word = words[ahead]
            node = node.get(word) or node.get(base_word(word))
            if node is None:
                break
            ahead += 1
            if END in node:
                longest, end = node[END], ahead
        if longest is not None:
            events.append((longest[0], longest[1], position, end))
    events.append(("stop", "", count, count))
    return events
