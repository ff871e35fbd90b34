"""The sentences of a report as observations of its film: what no film shows is taken out of them, or they are dropped.

What a sentence says of a finding never changes: a rewritten sentence is kept only if the extractor reads nothing in it
that it did not read in the whole one.

    Stable mild cardiomegaly.                                        Mild cardiomegaly.
    The heart remains enlarged compared to the prior study of ___.   The heart is enlarged.
    Small left effusion, unchanged since yesterday.                  Small left effusion.
    Right basal opacity, recommend follow-up.                        Right basal opacity.
    The effusion has increased.                                      dropped
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from curriculum.importers.parts.reports import sections
from rewards.findings.extract import mentions_of
from rewards.findings.layout import paragraphs, sentences
from rewards.findings.mention import Mention
from rewards.findings.ontology import load_ontology
from rewards.traces.phrases import load_phrases
from rewards.traces.talk import talk_in

MAX_WORDS = 40
"""Of an observation; a longer sentence says too many things at once."""
NOT_OF_THE_FILM = {"indication", "comparison", "technique", "procedure", "examination", "recommendation"} | {
    *("notification", "addendum", "wet read", "history", "exam", "study", "reason", "type of examination"),
}
"""Sections that do not describe the film."""

_HEADING = re.compile(r"^[A-Z][A-Za-z /&,-]{2,40}:\s+(?=\S+(?:\s+\S+){2})")
_LEADING = re.compile(
    r"^(?:and|but|with|which|although|also|additionally|however|otherwise|accompanied by|associated with)\b[ ,]*",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"\s+")
_BEFORE_MARK = re.compile(r"\s+([,.;:])")
_ABBREVIATIONS = re.compile(r"\b(?:svc|ivc|picc|ett|ng|ij|ap|pa|icd|copd|cabg)\b", re.IGNORECASE)


class Observation(NamedTuple):
    """A sentence about one film.

    Attributes:
        text: the sentence, with a capital and a full stop.
        mentions: what it says of findings and signs.
        is_rewritten: whether it differs from the report's own.
    """

    text: str
    mentions: tuple[Mention, ...]
    is_rewritten: bool


class _Trims(NamedTuple):
    """The patterns of trims.toml."""

    substitutions: list[tuple[re.Pattern[str], str]]
    broken: re.Pattern[str]
    cut: re.Pattern[str]


@cache
def _trims() -> _Trims:
    data = tomllib.loads(resources.files(__package__).joinpath("trims.toml").read_text("utf-8"))
    words: dict[str, str] = data["words"]

    def compiled(pattern: str) -> re.Pattern[str]:
        for name, alternatives in words.items():
            pattern = pattern.replace(f"{{{name}}}", alternatives)
        return re.compile(pattern, re.IGNORECASE)

    pairs = [(compiled(pattern), written) for pattern, written in data["substitutions"]]
    return _Trims(pairs, compiled("|".join(data["broken"])), compiled("|".join(data["cuts"])))


@lru_cache(maxsize=512)  # the tasks of a film share its report
def observations(report: str) -> tuple[Observation, ...]:
    """The observations that a report makes, in its order, each once."""
    found: dict[str, Observation] = {}
    for sentence in _sentences(report):
        observation = observe(sentence)
        if observation is not None:
            found.setdefault(observation.text.casefold(), observation)
    return tuple(found.values())


@lru_cache(maxsize=512)
def film_text(report: str) -> str:
    """The sections of a report that describe its film, as one text."""
    parts = sections(report)
    return "\n\n".join(text for name, text in parts.items() if not _is_of_another(name))


def observe(sentence: str) -> Observation | None:
    """A sentence as an observation of its film; None if it is none."""
    whole = _plain(sentence)
    if len(whole.split()) > 3 * MAX_WORDS or _is_heading(sentence):
        return None
    said = {(mention.finding, mention.status) for mention in mentions_of(whole)}
    for text in _rewritings(whole):
        words = text.split()
        if not 0 < len(words) <= MAX_WORDS or talk_in(text) or _trims().broken.search(text):
            continue
        mentions = mentions_of(text)
        if not mentions and (len(words) < 3 or _is_technical(words)):
            continue
        if not {(mention.finding, mention.status) for mention in mentions} <= said:
            continue
        if mentions or text == whole:  # what is left of a sentence must still name something
            return Observation(_sentence(text), tuple(mentions), text != whole)
    return None


def _is_heading(sentence: str) -> bool:
    """Whether it only names what the next ones are about, as structured reports do."""
    return sentence.rstrip(" \t-–•*").endswith(":")


def _is_technical(words: Sequence[str]) -> bool:
    """Whether a sentence says how the film was taken."""
    return not {word.strip(".,;:()").casefold() for word in words}.isdisjoint(load_phrases().words["technical"])


def _sentences(report: str) -> Iterator[str]:
    for paragraph in paragraphs(film_text(report)):
        yield from sentences(paragraph)


def _is_of_another(name: str) -> bool:
    return name in NOT_OF_THE_FILM or any(name.startswith(f"{other} ") for other in NOT_OF_THE_FILM)


def _plain(sentence: str) -> str:
    """The sentence without the heading of a part of the body, a list's number or bullet, and doubled blanks."""
    text = _BLANKS.sub(" ", sentence).strip(" \t-–•*.,;:")
    text = re.sub(r"^\(?\d{1,2}[.)]\s+", "", text)
    text = _HEADING.sub("", text)
    return text.strip(" -–•*,;:")


def _rewritings(whole: str) -> Iterator[str]:
    """The sentence; without what no film shows; and the parts of that, longest first."""
    yield whole
    text = whole
    for pattern, written in _trims().substitutions:
        text = _tidy(pattern.sub(written, text))
    yield text
    cuts = [match.span() for match in _trims().cut.finditer(text)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    parts: list[str] = []
    for first, start in enumerate(starts):
        parts += [_tidy(_LEADING.sub("", text[start:end])) for end in ends[first:]]
    yield from sorted(dict.fromkeys(parts), key=len, reverse=True)


def _tidy(text: str) -> str:
    return _BEFORE_MARK.sub(r"\1", _BLANKS.sub(" ", text)).strip(" ,;:-–.")


def _sentence(text: str) -> str:
    """With a capital at its start and a full stop; a text in capitals becomes one in small letters."""
    if text.isupper():
        text = _ABBREVIATIONS.sub(lambda found: found[0].upper(), text.lower())
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def kinds_of(mention: Mention) -> tuple[str, ...]:
    """The finding of a mention and everything that it is a kind of."""
    finding = load_ontology().findings.get(mention.finding)
    return finding.ancestors if finding else (mention.finding,)
