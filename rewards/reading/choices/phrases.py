"""Which options a phrase names: "small left pleural effusion", "effusion, pleural", "enlarged heart (mild)"."""

from __future__ import annotations

import re

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.normal import is_normal
from rewards.reading.words import tables

_ODD_MARK = re.compile(r"[^\w\s.,;:()\[\]{}'/&+<>=%*!-]")
_LETTER = re.compile(r"(?<![\w'])[A-Z](?![\w'])")
QUALIFIES: frozenset[str] = frozenset()
"""What a phrase names that only qualifies ("left, small")."""


def named_by(phrase: str, options: OptionSet) -> frozenset[str] | None:
    """The options that a phrase may mean, none if it only qualifies; None if it names anything else or hedges.

    Side and size count where they tell options apart: of "left effusion" and "right effusion" the phrase "effusion"
    means both.
    """
    words = words_of(phrase)
    if options.yes_no:
        return None
    if _is_unsure(phrase, words) or has_letter(phrase, options):
        return None
    telling = options.telling_words
    useful = tuple(word for word in words if word in telling or not _adds_nothing(word))
    if not useful:
        return QUALIFIES
    ordered = sorted(useful)
    for letter, own in options.words.items():
        if sorted(own) == ordered:
            return frozenset(letter)
    letters = _by_name(phrase, useful, options)
    return None if letters is None else _apart(letters, words, options)


def agrees(phrase: str, letters: frozenset[str], options: OptionSet) -> bool:
    """Whether a phrase beside one or more options says the same as they do, or only qualifies them."""
    words = words_of(phrase)
    if _is_unsure(phrase, words):
        return False
    named = named_by(phrase, options)
    if named is None or (named and not named & letters and not _is_part(words, letters, options)):
        return named is None and _is_part(words, letters, options)
    if not named - letters <= _alike(letters, options):
        return False
    return not contradicts(words, letters, options)


def _is_unsure(phrase: str, words: tuple[str, ...]) -> bool:
    """Whether a phrase hedges, asks, or holds a mark that no phrase needs."""
    return not tables().hedges.isdisjoint(words) or _ODD_MARK.search(phrase) is not None


def has_letter(phrase: str, options: OptionSet) -> bool:
    """Whether an option's letter stands in a phrase; "A" before a word in lower case is an article."""
    for match in _LETTER.finditer(phrase):
        is_article = match[0] == "A" and phrase[match.end() : match.end() + 2].strip().islower()
        if match[0] in options.texts and not is_article:
            return True
    return False


def _is_part(words: tuple[str, ...], letters: frozenset[str], options: OptionSet) -> bool:
    """Whether all words are words of the options' own texts: "effusion, pleural"."""
    own = {word for letter in letters for word in options.words[letter]}
    return bool(words) and own.issuperset(words)


def contradicts(words: tuple[str, ...], letters: frozenset[str], options: OptionSet) -> bool:
    """Whether a side or a size belongs to another option of the same finding: "A) right effusion"."""
    telling = options.telling_words.intersection(words)
    if not telling:
        return False
    own = {word for letter in letters for word in options.words[letter]}
    same = _alike(letters, options)
    theirs = {word for letter in same - letters for word in options.words[letter]}
    return bool(telling & theirs - own)


def _alike(letters: frozenset[str], options: OptionSet) -> frozenset[str]:
    """The options that name the same findings; all options if these name none."""
    names = {options.finding.get(letter) for letter in letters}
    if None in names:
        return frozenset(options.texts)
    return frozenset(letter for letter, name in options.finding.items() if name in names)


def _adds_nothing(word: str) -> bool:
    words = tables()
    return word in words.qualifiers or word in words.fillers or word.isdecimal()


def _by_name(phrase: str, useful: tuple[str, ...], options: OptionSet) -> frozenset[str] | None:
    for name in (canonical(phrase), canonical(" ".join(useful))):
        if name in options.names:
            return options.names[name]
        if name in options.letters_of:
            return options.letters_of[name]
    if options.healthy_letter and is_normal(phrase):
        return frozenset(options.healthy_letter)
    return _by_extract(phrase, options)


def _by_extract(phrase: str, options: OptionSet) -> frozenset[str] | None:
    mentions = extract(phrase).mentions
    if not mentions or any(mention.status != "present" for mention in mentions):
        return None
    found: frozenset[str] = frozenset()
    for mention in mentions:
        letters = letters_of_finding(mention.finding, options)
        if not letters:
            return None
        found |= letters
    names = {options.finding[letter] for letter in found}
    return found if len(names) == 1 or all(len(options.letters_of[name]) == 1 for name in names) else None


def letters_of_finding(finding: str, options: OptionSet) -> frozenset[str]:
    """The options that name a finding, or else what it is a kind of."""
    for kind in load_ontology().findings[finding].ancestors:
        if kind in options.letters_of and kind != NO_FINDING:
            return options.letters_of[kind]
    return frozenset()


def _apart(letters: frozenset[str], words: tuple[str, ...], options: OptionSet) -> frozenset[str] | None:
    """Of options alike, those whose sides and sizes the words don't contradict; None if there is none."""
    if len(letters) < 2:
        return None if letters and contradicts(words, letters, options) else letters
    theirs = {word for letter in letters for word in options.words[letter]}
    telling = options.telling_words.intersection(words, theirs)
    fitting = frozenset(letter for letter in letters if telling <= set(options.words[letter]))
    return fitting or None
