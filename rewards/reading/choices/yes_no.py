"""Reads yes or no: a word for it, with or without a sentence, or a sentence that answers the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from curriculum.task import NO_FINDING
from rewards.findings.extract import extract, mentions_of
from rewards.findings.ontology import load_ontology
from rewards.findings.sentence_reader import Mention
from rewards.findings.signs import SURE, load_signs
from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.normal import is_normal, normality
from rewards.reading.reading import Reading, unread
from rewards.reading.words import tables

Answer = Literal["yes", "no"]
MAX_CHARACTERS = 300  # of "Yes, …" or "No, …"; a longer one is not an answer
_CLAUSE_END = re.compile(
    r"[.;!\n,:]+|\b(?=(?:but|although|though|while|whereas|however|with|without|despite)\b)", re.IGNORECASE
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SAYS = re.compile(
    r"\b(?:is|are|was|has|have|had|shows?|showing|demonstrates?|reveals?|seen|noted|present|consistent|absent|suggests?|"
    r"identified|visible|evident|indicates?|there|yes|true|positive|appears?|appeared|looks?|seems?|were|reveals?|exhibits?|"
    r"displays?|depicts?|detected|found|observed|confirmed|i\s+see|can\s+see|contains?|remains?)\b",
    re.IGNORECASE,
)
_DOUBTS = frozenset({"may", "might", "could", "maybe", "perhaps", "possibly", "possible", "questionable", "equivocal"})
_ASKS_HEALTHY = re.compile(r"\b(?:normal|healthy|unremarkable)\b", re.IGNORECASE)
_NOT_HEALTHY = re.compile(r"\b(?:not|isn't)\s+(?:a\s+|entirely\s+)?(?:normal|healthy|unremarkable)\b", re.IGNORECASE)
_ASKS_SICK = re.compile(r"\b(?:abnormal(?:ity|ities)?|patholog(?:y|ies|ical)|disease)\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def asked(question: str) -> str | None:
    """The one finding that a question asks about, `NO_FINDING` if it asks whether the film is healthy, else None.

    "abnormal" stands for a question about any abnormality.
    """
    if not question.rstrip().endswith("?"):
        return None
    names = {mention.finding for mention in extract(question).mentions}
    if len(names) == 1:
        return names.pop()
    if names:
        return None
    if _ASKS_SICK.search(question):
        return "abnormal"
    return NO_FINDING if _ASKS_HEALTHY.search(question) else None


def read_yes_no(text: str, options: OptionSet) -> Reading:
    """The answer that a text gives to a yes-or-no question; "Yes" and "No" are the only options."""
    letters = options.yes_no
    assert letters is not None
    if "?" in text:
        return unread("asks a question", text)
    word, rest = _first_word(text)
    about = asked(options.question)
    is_apart = word is not None and (
        not rest or not rest[0].isspace() or re.match(r"\s*[-,.;:(]|\s*\n", rest) is not None
    )
    if word is None or (word == "no" and not is_apart):
        return _from_sentence(text, about, letters, word)
    found = objection(rest, word, about)
    if found is None and len(text) > MAX_CHARACTERS:
        found = unread("too long", "")
    return found or Reading((letters[word],), "yes or no" + (" with a sentence" if rest.strip(" .,;:!-)") else ""))


def _first_word(text: str) -> tuple[Answer | None, str]:
    """The word for yes or no with which a text begins, and the rest."""
    table = tables()
    words = list(_WORD.finditer(text))
    if not words or words[0].start() > 2:
        return None, text
    first = words[0][0].casefold()
    if len(words) > 1:
        pair = table.two_words.get(f"{first} {words[1][0].casefold()}")
        if pair:
            return ("yes" if pair == "yes" else "no"), text[words[1].end() :]
    rest = text[words[0].end() :]
    if first in table.yes:
        return "yes", rest
    return ("no", rest) if first in table.no else (None, text)


def objection(rest: str, word: Answer, about: str | None) -> Reading | None:
    """Why what follows the word makes it unreadable: doubt, or the opposite."""
    if not rest.strip(" .,;:!-)\n"):
        return None
    for clause in _CLAUSE_END.split(rest):
        words = frozenset(words_of(clause)) | frozenset(match[0].casefold() for match in _WORD.finditer(clause))
        if not words:
            continue
        found = _objection_in(clause, words, word, about)
        if found:
            return found
    said = _says(extract(rest).mentions, about, rest)
    if said == "doubt":
        return unread("hedges", rest.strip())
    return unread("contradicts itself", rest.strip()) if said and said != word else None


def _objection_in(clause: str, words: frozenset[str], word: Answer, about: str | None) -> Reading | None:
    """What a clause without a finding of its own may say: doubt, or a bare yes or no."""
    table = tables()
    if table.corrections & words - {"instead"}:
        return unread("takes it back", clause.strip())
    mentions = extract(clause).mentions
    if mentions:
        is_doubted = _DOUBTS & words and _says(mentions, about, clause) in ("yes", "doubt")
        return unread("hedges", clause.strip()) if is_doubted else None
    if (
        table.hedges & words
        or "unlikely" in words
        or {"probably", "sure", "certain", "doubt", "determined", "if", "unless", "assuming"} & words
    ):
        return unread("hedges", clause.strip())
    if normality(clause.strip()):
        return None
    denies, asserts = table.absence & words, table.presence & words
    if word == "yes" and denies:
        return unread("contradicts itself", clause.strip())
    is_bare = words <= table.presence | {"it", "is", "are", "there", "the", "and", "a", "but"}
    if word == "no" and not denies and asserts and is_bare:
        return unread("contradicts itself", clause.strip())
    return None


def _from_sentence(text: str, about: str | None, letters: dict[str, str], word: Answer | None) -> Reading:
    """ "There is an effusion.", "No effusion.": what the sentence says of what was asked."""
    words = frozenset(words_of(text))
    if len(text) > MAX_CHARACTERS:
        return unread("too long", "")
    if tables().corrections & words:
        return unread("takes it back", text)
    mentions = extract(text).mentions
    if about is None:
        return _without_question(text, mentions, letters, word)
    said = _says(mentions, about, text)
    if not said and is_normal(text):
        is_film = all(normality(part.strip()) == "film" for part in text.strip(" .").split(". ")) or about in (
            NO_FINDING,
            "abnormal",
        )
        said = _of_healthy(about) if is_film or word == "no" else ""
    said = said or _says_by_signs(text, about)
    if said == "doubt" or (said == "yes" and _DOUBTS & words) or (tables().hedges & words and not said):
        return unread("hedges", text)
    if said not in ("yes", "no"):
        return unread("says nothing of what was asked", text)
    if said == "yes" and not _SAYS.search(text):
        return unread("says nothing of what was asked", text)  # the finding's name alone
    return Reading((letters[said],), "a sentence that asserts or denies what was asked")


def _without_question(
    text: str, mentions: tuple[Mention, ...], letters: dict[str, str], word: Answer | None
) -> Reading:
    """ "No evidence of effusion" without a known question: no, if the sentence only denies."""
    statuses = {mention.status for mention in mentions}
    if word == "no" and not statuses & {"present", "uncertain"} and not tables().hedges & set(words_of(text)) - {"or"}:
        return Reading((letters["no"],), "a sentence that denies")
    return unread("says nothing of what was asked", text)


def _of_healthy(about: str) -> Answer:
    return "yes" if about == NO_FINDING else "no"


def _says(mentions: Sequence[Mention], about: str | None, text: str) -> Literal["yes", "no", "doubt", ""]:
    """What mentions of findings say of what was asked."""
    if about is None:
        return _says_alone(mentions)
    if about in (NO_FINDING, "abnormal"):
        if _NOT_HEALTHY.search(text):
            return "no" if about == NO_FINDING else "yes"
        present = any(mention.status == "present" for mention in mentions)
        is_sick = present or (re.search(r"\babnormal(?:ity|ities)?\b", text, re.IGNORECASE) and not is_normal(text))
        if is_sick:
            return "no" if about == NO_FINDING else "yes"
        if (mentions and all(mention.status == "absent" for mention in mentions)) or is_normal(text.strip(" ,.")):
            return _of_healthy(about)
        return ""
    findings = load_ontology().findings
    statuses = {m.status for m in mentions if about in findings[m.finding].ancestors}
    if "uncertain" in statuses:
        return "doubt"
    if len(statuses) > 1:
        return "doubt"
    if not statuses:
        return ""
    return "yes" if statuses == {"present"} else "no"


def _says_by_signs(text: str, about: str) -> Literal["yes", "no", ""]:
    """What sure signs say of the finding that was asked about: "The costophrenic angles are sharp."."""
    said: set[Answer] = set()
    signs = load_signs().signs
    for mention in mentions_of(text):
        sign = signs.get(mention.finding)
        if sign is None or about not in sign.findings or mention.status == "uncertain":
            continue
        is_seen = mention.status == "present"
        is_for = sign.speaks_for == is_seen
        if (sign.seen if is_seen else sign.unseen) < SURE or (is_for and len(sign.findings) > 1):
            return ""
        said.add("yes" if is_for else "no")
    return said.pop() if len(said) == 1 else ""


def _says_alone(mentions: Sequence[Mention]) -> Literal["yes", "no", ""]:
    """What findings say if it isn't known which was asked about: only what all of them say."""
    statuses = {mention.status for mention in mentions}
    if statuses and "present" not in statuses:
        return "no"
    return "yes" if statuses == {"present"} else ""
