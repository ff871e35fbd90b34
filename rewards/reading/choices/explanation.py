"""Whether the words beside an answer bear it out, or take it back, hedge or name something else."""

from __future__ import annotations

import re

from curriculum.task import NO_FINDING
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.choices.phrases import contradicts, letters_of_finding
from rewards.reading.reading import Reading, unread
from rewards.reading.words import tables

_CLAUSE_END = re.compile(
    r"[.;!\n]+|,\s*(?=(?:but(?!\s+(?:it|this|that)\s+is)|so|and|while|whereas|although)\b)|,\s*(?=(?:the|my)\s+(?:\w+\s+)?(?:answer|option|choice)\b)"
)
_LETTER = re.compile(r"(?<![\w'])([A-G])(?![\w'])")
_GUESSES = frozenset({"maybe", "perhaps", "possibly", "guess", "guessing", "either"})
_NAMED_LETTER = re.compile(r"\b(?:option|answer|choice|or|and|is|be|either)\s+\(?$", re.IGNORECASE)


def objection(text: str, letters: frozenset[str], options: OptionSet) -> Reading | None:
    """Why an explanation makes the answer unreadable; None if it bears it out or says nothing of it."""
    if "?" in text:
        return unread("asks a question", text.strip())
    for clause in _CLAUSE_END.split(text):
        found = _objection_in(clause, letters, options) if clause.strip() else None
        if found:
            return found
    return _contrary_findings(text, letters, options)


def _objection_in(clause: str, letters: frozenset[str], options: OptionSet) -> Reading | None:
    words = frozenset(words_of(clause))
    table = tables()
    if table.corrections & words or "second thought" in clause.casefold():
        return unread("takes it back", clause.strip())
    is_rejecting = not table.rejections.isdisjoint(words)
    for match in _LETTER.finditer(clause):
        if match[1] not in options.texts or _is_article(clause, match):
            continue
        if match[1] in letters and is_rejecting:
            return unread("contradicts itself", clause.strip())
        if match[1] not in letters and not is_rejecting:
            return unread("contradicts itself", clause.strip())
    if _GUESSES & words:
        return unread("hedges", clause.strip())
    if (
        table.not_sure & words
        and not extract(clause).mentions
        and (is_rejecting or words & {"unsure", "uncertain", "unclear", "doubt"})
    ):
        return unread("hedges", clause.strip())
    if _names_own(clause, letters, options) and contradicts(words_of(clause), letters, options):
        return unread("contradicts itself", clause.strip())
    return _other_texts(clause, letters, options, is_rejecting)


def _names_own(clause: str, letters: frozenset[str], options: OptionSet) -> bool:
    own = {options.finding[letter] for letter in letters if letter in options.finding}
    return any(mention.finding in own for mention in extract(clause).mentions)


def _is_article(clause: str, match: re.Match[str]) -> bool:
    """ "A pleural line": an article, unless an option is spoken of ("option A is …")."""
    if match[1] != "A" or _NAMED_LETTER.search(clause, 0, match.start()):
        return False
    rest = clause[match.end() :].lstrip()
    return rest[:1].islower() and not re.match(r"(?:is|are|was)\b", rest)


def _other_texts(clause: str, letters: frozenset[str], options: OptionSet, is_rejecting: bool) -> Reading | None:
    """Another option's own text, of those that are no findings, in a clause that doesn't reject it."""
    if is_rejecting:
        return None
    said = f" {' '.join(words_of(clause))} "
    for letter, words in options.words.items():
        if letter not in letters and letter not in options.finding and words and f" {' '.join(words)} " in said:
            own = {word for other in letters for word in options.words[other]}
            if not own.issuperset(words):
                return unread("contradicts itself", clause.strip())
    return None


def _contrary_findings(text: str, letters: frozenset[str], options: OptionSet) -> Reading | None:
    """A finding of another option that the text asserts or leaves open, or one of the answer's own that it doesn't."""
    findings = load_ontology().findings
    own_names = {options.finding[letter] for letter in letters if letter in options.finding}
    for mention in extract(text).mentions:
        kinds = findings[mention.finding].ancestors
        is_own = not own_names.isdisjoint(kinds)
        if is_own and mention.status != "present":
            return unread("contradicts itself" if mention.status == "absent" else "hedges", mention.finding)
        named = letters_of_finding(mention.finding, options)
        is_other = bool(named) and named.isdisjoint(letters) and not is_own
        if mention.status != "absent" and (is_other or own_names == {NO_FINDING}):
            return unread("contradicts itself", mention.finding)
    return None
