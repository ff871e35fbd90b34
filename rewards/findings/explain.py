"""Says why a text is read as it is: for each finding the words, the cue, its scope and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rewards.findings.entry import Entry
from rewards.findings.extract import sections_of
from rewards.findings.layout import paragraphs, sentences
from rewards.findings.mention import Mention
from rewards.findings.phrases import phrases_of, spans_of, words_of
from rewards.findings.sentence_reader import SentenceReader
from rewards.findings.signs import is_sign

_SKIPPED = "it stands in a section that says nothing of this film"
_REASONS = {  # rule to why
    "asserted": "it is stated, and no cue governs it",
    "negation": "the cue denies what follows it in its statement",
    "negation_after": "the cue denies what comes before it in its statement",
    "normal": "a normal part of the body denies it",
    "resolved": "it is said to be gone",
    "resolution": "it is said to be gone, or still there if that is partial",
    "uncertain": "the cue leaves open what follows it in its statement",
    "uncertain_weak": "the cue leaves open what it stands beside",
    "uncertain_after": "the cue leaves open what comes before it in its statement",
    "differential": "the cue leaves open all that follows it in its sentence",
    "versus": "both sides of it are left open",
    "over": "something else is thought more likely",
    "question": "it is asked, not said",
    "asked": "it is asked, not said",
    "change": "it is a change that is denied, not the finding",
    "cause": "it is a cause that is denied, not the finding",
    "within": "it is something in it or of it that is denied, not the finding",
    "prior": "it is an earlier finding; it counts if the text says what has become of it",
    "history": "it is no finding of this film",
    "after_event": "it is what a procedure was for",
    "hypothetical": "it is a condition or a question in a train of thought",
    "conditional": "it is what would be, not what is",
    "artifact_after": "it is said to be no more than an artifact, or to have been removed",
    "asserted_after": "it is said to be there",
    "evidence": "the cue denies what follows it in its statement",
}


class Explanation(NamedTuple):
    """One finding as it was read, and why.

    Attributes:
        finding: the canonical name.
        status: "present", "absent", "uncertain" or "not counted".
        words: the words that name it, as they are written.
        cue: the kind of the cue, "" for a plain statement.
        cue_words: its words as they are written.
        scope: the statement that it stands in.
        reason: why, in plain words.
        said: side, severity and place, as far as the text gives them.
    """

    finding: str
    status: str
    words: str
    cue: str
    cue_words: str
    scope: str
    reason: str
    said: tuple[str, ...]


def explained(text: str) -> list[Explanation]:
    """Each finding that a text mentions, in its order, those that don't count included. Never raises."""
    return list(_explained(text.replace("’", "'")))


def lines(explanation: Explanation) -> list[str]:
    """An explanation as lines for people."""
    said = f" ({', '.join(explanation.said)})" if explanation.said else ""
    cue = f'"{explanation.cue_words}" ({explanation.cue})' if explanation.cue else "none"
    return [
        f'{explanation.status}: {explanation.finding}{said}, from "{explanation.words}"',
        f"    cue: {cue}",
        f'    scope: "{explanation.scope}"',
        f"    reason: {explanation.reason}",
    ]


def _explained(text: str) -> Iterator[Explanation]:
    for paragraph in paragraphs(text):
        is_skipping = False
        for sentence in sentences(paragraph):
            lower = sentence.lower()
            sentence = sentence if len(lower) == len(sentence) else lower  # a few capitals have longer small letters
            spans = spans_of(sentence)
            for heading, events in sections_of(phrases_of(words_of(lower))):
                if heading:
                    is_skipping = heading == "skipped_sections"
                for entry in SentenceReader(events).read():
                    if not is_sign(entry.finding):
                        yield _explanation(entry, sentence, spans, is_skipping)


def _explanation(entry: Entry, sentence: str, spans: list[tuple[int, int]], is_skipping: bool) -> Explanation:
    def written(first: int, after: int) -> str:
        words = spans[first:after]
        return sentence[words[0][0] : words[-1][1]] if words else ""

    cue = entry.cue
    has_cue = cue is not None and entry.rule != "asserted"
    mention = Mention(entry.finding, entry.status or "present", **entry.attributes)  # type: ignore[arg-type]
    return Explanation(
        finding=entry.finding,
        status="not counted" if is_skipping or entry.status is None else entry.status,
        words=written(*entry.words),
        cue=entry.rule if has_cue else "",
        cue_words=written(cue.start, cue.end) if cue is not None and has_cue else "",
        scope=written(*entry.scope),
        reason=_SKIPPED if is_skipping else _REASONS.get(entry.rule, "the cue decides"),
        said=tuple(part for part in (mention.side, mention.severity, mention.place) if part),
    )
