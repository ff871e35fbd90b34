"""Reads the option that a sentence asserts in its own words: "There is a pleural effusion.", "The lungs are clear."."""

from __future__ import annotations

import re

from curriculum.task import NO_FINDING
from rewards.findings.extract import extract
from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.choices.phrases import has_letter, letters_of_finding, named_by
from rewards.reading.normal import is_normal
from rewards.reading.reading import Reading, unread
from rewards.reading.words import tables

MAX_CHARACTERS = 300  # of a sentence that states an answer
_SAYS = re.compile(
    r"\b(?:is|are|has|have|shows?|showing|demonstrates?|reveals?|there|seen|see|noted|present|consistent|suggests?|"
    r"indicates?|appears?|exhibits?|displays?|depicts?|with|explains?|fits?|looks?|seems?)\b",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"(?:(?:the|this|my|a)\s+)?(?:\S+\s+){0,6}?(?:shows?|demonstrates?|reveals?|has|is|are|there\s+is|there\s+are|see|"
    r"indicates?|exhibits?|displays?|depicts?)\s+(?:an?\s+|the\s+)?",
    re.IGNORECASE,
)


def read_sentence(text: str, options: OptionSet) -> Reading:
    """The options whose findings a text asserts, all others being denied or not mentioned."""
    words = frozenset(words_of(text))
    if "?" in text:
        return unread("asks a question", text)
    hedges = tables().hedges & words
    if (hedges and not _is_denied_list(text, words)) or tables().corrections & words:
        return unread("hedges", ", ".join(sorted(hedges or tables().corrections & words)))
    if has_letter(text, options) or (text[:2] == "A " and "A" in options.texts):
        return unread("has words that fit no option", text)  # a letter or an article
    if len(text) > MAX_CHARACTERS:
        return unread("has words that fit no option", text)
    if options.healthy_letter and is_normal(text):
        return Reading((options.healthy_letter,), "a normal film")
    literal = _after_lead(text, options)
    return literal or _by_findings(text, options)


def _is_denied_list(text: str, words: frozenset[str]) -> bool:
    """Whether the only hedge is the "or" of a denied list ("no mass or edema")."""
    mentions = extract(text).mentions
    return (
        tables().hedges & words == {"or"}
        and any(m.status == "absent" for m in mentions)
        and not any(m.status == "uncertain" for m in mentions)
    )


def _after_lead(text: str, options: OptionSet) -> Reading | None:
    """ "There is a …", "The image shows …", and then an option in its own or other words."""
    lead = _LEADS.match(text)
    rest = text[lead.end() :] if lead else text
    named = named_by(rest.strip(" .!"), options) if lead else None
    return Reading(tuple(named), "an option's own sentence") if named and len(named) == 1 else None


def _by_findings(text: str, options: OptionSet) -> Reading:
    mentions = extract(text).mentions
    asserted: set[str] = set()
    denied: set[str] = set()
    for mention in mentions:
        letters = letters_of_finding(mention.finding, options)
        if len(letters) > 1 and mention.status != "absent":
            return unread("says nothing of what was asked", mention.finding)  # side or size is missing
        if mention.status == "uncertain" and letters:
            return unread("hedges", mention.finding)
        (denied if mention.status == "absent" else asserted).update(letters)
    if asserted & denied:
        return unread("contradicts itself", ", ".join(sorted(asserted & denied)))
    is_plain = len(asserted) == 1 and not tables().rejections & frozenset(words_of(text)) - {"no", "without"}
    if asserted and (is_plain or _SAYS.search(text)):
        return Reading(tuple(sorted(asserted)), "an option's own sentence")
    others = {letter for letter, name in options.finding.items() if name != NO_FINDING}
    is_all_denied = len(others) == len(options.texts) - 1 and others <= denied
    if options.healthy_letter and not asserted and is_all_denied:
        return Reading((options.healthy_letter,), "every other option denied")
    return unread("has words that fit no option", text)
