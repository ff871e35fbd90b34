"""What a radiology text says: which findings it asserts, denies or leaves open.

A text becomes words; the ontology's trie finds the phrases among them in one pass; a small state machine reads the phrases
of a sentence from left to right. Time is linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from rewards.findings.ontology import END, load_ontology
from rewards.findings.sentence_reader import Event, Mention, Reader

Labels = Literal["nih", "chexpert", "cxr_lt", "all"]

_PARAGRAPH_END = re.compile(r"\n\s*\n")
# Not the dot of 1.5 or "vs."; a line goes on where the next one begins in lower case.
# Written so that one set of characters comes first: `re` finds these much faster.
_SENTENCE_END = re.compile(
    r"[;!\n.](?:(?<=[;!])|(?<=\n)(?![^\S\n]*[a-z])|(?<=\.)(?<!\b[vV]s\.)(?<!\b[dD]r\.)(?:(?!\d)|(?<!\d\.)))"
)
_WORD = re.compile(r"[hrsw]/[ops]\b|and/or|\d+(?:[.:/]\d+)+|[^\W_]+(?:'[a-z]+)?|[,:?()]")
_OWN_WORDS = ",:?()"
_CLOCK = re.compile(r"\d:\d")
_PLAIN = bytes(c if chr(c).isalnum() or chr(c) in _OWN_WORDS else ord(" ") for c in range(128)) + bytes(128)
_HEADINGS = {"skipped_sections", "read_sections"}
_SAYING = {"finding", "part"}  # without one of these a sentence says nothing of findings
_LONGEST_SENTENCE = 1000  # characters; what is longer is no sentence and is read in pieces


@dataclass(frozen=True)
class Mentions:
    """All that a text says of findings, in its order.

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

        Of two statuses the surer counts: present before uncertain before absent. A finding that is present or uncertain
        makes what it is a kind of so too; one that is denied denies only itself.
        """
        said: dict[str, set[str]] = {"present": set(), "uncertain": set(), "absent": set()}
        findings = load_ontology().findings
        for name, status in {(m.finding, m.status) for m in self.mentions}:
            kinds = findings[name].ancestors if status != "absent" else (name,)
            said[status].update(
                kinds if labels == "all" else (label for kind in kinds if (label := getattr(findings[kind], labels)))
            )
        said["uncertain"] -= said["present"]
        said["absent"] -= said["present"] | said["uncertain"]
        return {status: frozenset(names) for status, names in said.items()}


def extract(text: str) -> Mentions:
    """The findings that a text speaks of. Never raises for any text; linear in its length.

    Sections such as "Indication:" and "Comparison:" are passed over, up to a blank line or a heading such as "Findings:".
    """
    return Mentions(tuple(mentions_of(text)))


def mentions_of(text: str) -> list[Mention]:
    """All that a text says of findings, in its order, as `extract` reads it."""
    if not text.isascii():
        text = text.replace("’", "'")
    if "\n" not in text:
        return _in_paragraph(text)
    paragraphs = _PARAGRAPH_END.split(text.replace("\r\n", "\n"))
    return [mention for paragraph in paragraphs for mention in _in_paragraph(paragraph)]


def _in_paragraph(paragraph: str) -> list[Mention]:
    mentions: list[Mention] = []
    skipping = False
    for sentence in _SENTENCE_END.split(paragraph):
        pieces = (
            (sentence,)
            if len(sentence) <= _LONGEST_SENTENCE
            else (sentence[start : start + _LONGEST_SENTENCE] for start in range(0, len(sentence), _LONGEST_SENTENCE))
        )
        for piece in pieces:
            for heading, said in _read(piece):
                if heading:
                    skipping = heading == "skipped_sections"
                if said and not skipping:
                    mentions += said
    return mentions


@lru_cache(maxsize=4096)  # reports repeat their sentences, and so do responses that babble
def _read(sentence: str) -> tuple[tuple[str, tuple[Mention, ...]], ...]:
    """Parts of a sentence: the kind of heading that a part begins with, "" for none, and its mentions."""
    events = _phrases(sentence.lower())
    kinds = {event[0] for event in events}
    if kinds.isdisjoint(_HEADINGS):
        return () if kinds.isdisjoint(_SAYING) else (("", _said(tuple(events))),)
    parts, heading, start = [], "", 0
    for index, (kind, _, word, _) in enumerate(events):
        if kind in _HEADINGS or kind == "stop":
            parts.append((heading, Reader([*events[start:index], ("stop", "", word, word)]).read()))
            heading, start = kind, index + 1
    return tuple(parts)


@lru_cache(maxsize=4096)  # sentences that differ in a name of a place or a number have the same phrases
def _said(events: tuple[Event, ...]) -> tuple[Mention, ...]:
    return Reader(events).read()


def _words(sentence: str) -> list[str]:
    """`_WORD.findall`, the quick way where nothing but letters, digits and plain punctuation stands in a sentence."""
    if (
        not sentence.isascii()
        or "." in sentence
        or "'" in sentence
        or "/" in sentence
        or (":" in sentence and _CLOCK.search(sentence))
    ):
        return _WORD.findall(sentence)
    spaced = sentence.encode().translate(_PLAIN).decode()
    for mark in _OWN_WORDS:
        if mark in spaced:
            spaced = spaced.replace(mark, f" {mark} ")
    return spaced.split()


def _phrases(sentence: str) -> list[Event]:
    """The phrases of a sentence, in order, the longest at each place."""
    ontology = load_ontology()
    form, words = ontology.forms.get, _words(sentence)
    count = len(words)
    events: list[Event] = []
    end = 0
    for position, node in enumerate(map(ontology.phrases.get, words)):
        if node is None or position < end:
            continue
        found = node.get(END)
        end = ahead = position + 1
        while ahead < count and (node := node.get(word := words[ahead]) or node.get(form(word))) is not None:
            ahead += 1
            if END in node:
                found, end = node[END], ahead
        if found is not None:
            events.append((found[0], found[1], position, end))
    events.append(("stop", "", count, count))
    return events
