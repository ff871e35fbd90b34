"""Reads an answer that stands beside an explanation: "B⏎The angle is blunted.", "The heart is enlarged, so C."."""

from __future__ import annotations

import re
from collections.abc import Callable

from rewards.findings.extract import extract
from rewards.reading.choices.option_list import Listed, read_list
from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.normal import normality
from rewards.reading.reading import Reading, unread
from rewards.reading.words import tables

_PIECE_END = re.compile(
    r"\n+|(?<=[.!])(?<!i\.e\.)\s+|,?\s+(?=(?:because|since|due to|given that|based on)\b)|,\s+(?=as\b)"
    r"|[,;]\s*(?=(?:so|therefore|thus|hence)\b)|[,;]\s*(?=(?:i\.e\.|that is,?|in other words)\s)"
    r"|;\s*(?=the (?:\w+ )?(?:answer|option|choice) is\b)",
    re.IGNORECASE,
)
_LETTER_AND_REASON = re.compile(r"[(\[]?([A-G])[)\].]?\s*[-:]\s+(\S.*)", re.DOTALL)
_CONCLUDES = re.compile(r"(?:so|therefore|thus|hence|i\.e\.|that is|in other words)(?!\w)", re.IGNORECASE)
_THAT_IS = re.compile(r"\A(?:i\.e\.|that is,?|in other words,?)\s", re.IGNORECASE)
_LABEL = re.compile(r"\s*(?:explanation|reasoning|rationale|reason|justification|note|analysis)\s*:", re.IGNORECASE)
_MAX_PIECES = 40


Objection = Callable[[str, frozenset[str]], Reading | None]
"""Takes an explanation and the letters of the answer; returns why they don't go together, None if they do."""


def read_with_explanation(text: str, options: OptionSet, objects: Objection) -> Reading | None:
    """The options of the one piece of a text that is an answer; None if there is no such piece, or no other piece.

    The first piece may be an answer as it is; a later one must say that it is one ("Answer: B", "so B").
    """
    pieces = [piece for piece in _PIECE_END.split(text) if piece and piece.strip()]
    if not 2 <= len(pieces) <= _MAX_PIECES:
        return None
    answers: list[Listed] = []
    explanations: list[str] = []
    for place, piece in enumerate(pieces):
        listed = read_list(_THAT_IS.sub("", piece), options)
        is_answer = listed and (listed.is_explicit or _CONCLUDES.match(piece) or (place == 0 and _is_bare(pieces)))
        if listed and is_answer:
            answers.append(listed)
        elif _CONCLUDES.match(piece) and not any(answer.is_explicit for answer in answers):
            return None  # what it concludes may be another answer
        else:
            explanations.append(_LABEL.sub("", piece))
    if not answers:
        return None
    letters = answers[0].letters
    if any(other.letters != letters for other in answers[1:]):
        return unread("contradicts itself", "two answers")
    found = objects("\n".join(explanations), letters) if explanations else None
    return found or Reading(tuple(sorted(letters)), "an answer with an explanation")


def read_letter_with_reason(text: str, options: OptionSet, objects: Objection) -> Reading | None:
    """ "B - the angle is blunted": a letter, a dash or colon, and at least three words that bear it out."""
    match = _LETTER_AND_REASON.fullmatch(text)
    if match is None or match[1] not in options.texts:
        return None
    words = words_of(match[2])
    table = tables()
    if len(words) < 3 or table.hedges.intersection(words) or (table.yes | table.no).intersection(words):
        return None
    return objects(match[2], frozenset(match[1])) or Reading((match[1],), "a letter with its reason")


def _is_bare(pieces: list[str]) -> bool:
    """Whether the first piece is short enough to be an answer without a word that says so.

    That a part of the film is normal is none if what follows names a finding.
    """
    if len(pieces[0]) > 100:
        return False
    return normality(pieces[0]) != "part" or all(
        mention.status == "absent" for piece in pieces[1:] for mention in extract(piece).mentions
    )
