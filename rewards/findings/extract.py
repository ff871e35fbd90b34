"""Reads which findings a radiology text asserts, denies or leaves open.

A text becomes words; the ontology's trie finds the phrases among them in one pass; a small state machine reads the
phrases of a sentence from left to right. Time is linear in the length of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from rewards.findings.layout import paragraphs, sentences
from rewards.findings.mention import Mention
from rewards.findings.ontology import load_ontology
from rewards.findings.phrases import Event, PlainEvent, plain_phrases, words_of
from rewards.findings.sentence_reader import SentenceReader
from rewards.findings.signs import is_sign

Labels = Literal["nih", "chexpert", "cxr_lt", "all"]

_HEADINGS = {"skipped_sections", "read_sections"}
_ABOUT_FINDINGS = {"finding", "part"}  # a sentence without one of these mentions no finding


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
    mentions: list[Mention] = []
    for paragraph in paragraphs(text):
        mentions += _in_paragraph(paragraph)
    return mentions


def _in_paragraph(paragraph: str) -> list[Mention]:
    mentions: list[Mention] = []
    is_skipping = False
    for sentence in sentences(paragraph):
        for heading, found in _read(sentence):
            if heading:
                is_skipping = heading == "skipped_sections"
            if found and not is_skipping:
                mentions += found
    return mentions


@lru_cache(maxsize=4096)  # reports repeat their sentences, and so do responses that babble
def _read(sentence: str) -> tuple[tuple[str, tuple[Mention, ...]], ...]:
    """The parts of a sentence: the kind of heading that each begins with, "" for none, and its mentions."""
    events = plain_phrases(words_of(sentence.lower()))
    kinds = {event[0] for event in events}
    if kinds.isdisjoint(_HEADINGS):
        return () if kinds.isdisjoint(_ABOUT_FINDINGS) else (("", _mentions(tuple(events))),)
    parts = sections_of([Event._make(event) for event in events])
    return tuple((heading, _mentions(part)) for heading, part in parts)


def sections_of(events: Sequence[Event]) -> list[tuple[str, tuple[Event, ...]]]:
    """The phrases between the headings of a sentence, each with the kind of heading before it, "" for none."""
    parts: list[tuple[str, tuple[Event, ...]]] = []
    heading, start = "", 0
    for index, event in enumerate(events):
        if event.kind in _HEADINGS or event.kind == "stop":
            parts.append((heading, (*events[start:index], Event("stop", "", event.start, event.start))))
            heading, start = event.kind, index + 1
    return parts


@lru_cache(maxsize=4096)  # sentences that differ only in a place or a number have the same phrases
def _mentions(events: tuple[PlainEvent, ...]) -> tuple[Mention, ...]:
    reader = SentenceReader([Event._make(event) for event in events])
    return tuple(entry.mention for entry in reader.read() if entry.status is not None)
