"""Reads the one letter that an answer points to amid words of its own: "After all that, B fits best."."""

from __future__ import annotations

import re

from rewards.reading.choices.option_set import OptionSet, words_of
from rewards.reading.choices.statements import Objection
from rewards.reading.reading import Reading
from rewards.reading.words import tables

MAX_CHARACTERS = 300
_LETTER = re.compile(r"(?<![\w'])[A-G](?![\w'])")
_CLAUSE_END = re.compile(r"[,.;!\n]+")
_WORD_BEFORE = re.compile(r"([^\W\d_]+|[:=→⇒>∴,.;!])[\s(\[*-]*\Z")
_WORD_AFTER = re.compile(r"[)\]*\s]*([^\W\d_]+|[^\s\w]|\Z)")
_DOUBTS = frozenset(["unsure", "uncertain", "unclear", "doubt", "inconclusive"])
_STOPS = frozenset(",.;!")
_LEADS = frozenset(["that", "think", "believe"])
_ENDS = frozenset(["", ".", ",", ";", "!", "-", "(", ":"])


def read_pointed_letter(text: str, options: OptionSet, objects: Objection) -> Reading | None:
    """The only letter that a text points to, if nothing around it rejects it, doubts it or names another option."""
    if len(text) > MAX_CHARACTERS or "?" in text:
        return None
    found: set[str] = set()
    for match in _LETTER.finditer(text):
        if match[0] not in options.texts or not _is_pointed_at(text, match, options):
            continue
        if _is_doubted(text if _is_bare_end(text, match) else _clause_of(text, match)):
            return None
        found.add(match[0])
    if len(found) != 1:
        return None
    letters = frozenset(found)
    return objects(text, letters) or Reading(tuple(letters), "the one letter that it points to")


def _is_pointed_at(text: str, match: re.Match[str], options: OptionSet) -> bool:
    """Whether a letter stands after "option", "choose" or a colon, or before "fits", and ends what is said."""
    table = tables()
    before = _WORD_BEFORE.search(text, 0, match.start())
    after = _WORD_AFTER.match(text, match.end())
    following = after[1].casefold() if after else ""
    if following in table.speaks_for:
        return _begins_clause(text, match, before)
    if following.isascii() and following not in _ENDS and not _own_text_follows(text[match.end() :], match[0], options):
        return False
    word = before[1].casefold() if before else ""
    return (
        _is_bare_end(text, match)
        or word in table.points_to
        or (not word.isascii() and table.points_to_cjk.search(word) is not None)
    )


def _is_bare_end(text: str, match: re.Match[str]) -> bool:
    """Whether nothing but the letter follows the last comma: "With all that, B."."""
    return text[: match.start()].rstrip(" ([*").endswith(",") and not text[match.end() :].strip(" .!)]*")


def _begins_clause(text: str, match: re.Match[str], before: re.Match[str] | None) -> bool:
    """Whether "B fits" begins a clause: "Hepatitis B is" speaks of no option. "A is" may begin with an article."""
    word = before[1].casefold() if before else ""
    if match[0] == "A":
        return word in tables().answer_nouns
    return not text[: match.start()].strip(" (*[") or word in tables().points_to or word in _LEADS or word in _STOPS


def _own_text_follows(text: str, letter: str, options: OptionSet) -> bool:
    own = options.words[letter]
    return bool(own) and words_of(text)[: len(own)] == own


def _clause_of(text: str, match: re.Match[str]) -> str:
    """What is said between the marks of punctuation around a letter."""
    starts = [end.end() for end in _CLAUSE_END.finditer(text, 0, match.start())]
    end = _CLAUSE_END.search(text, match.end())
    return text[starts[-1] if starts else 0 : end.start() if end else len(text)]


def _is_doubted(clause: str) -> bool:
    table = tables()
    words = frozenset(words_of(clause))
    doubts = table.hedges | table.rejections | table.corrections | table.exceptions | _DOUBTS
    return not doubts.isdisjoint(words) or table.doubts_cjk.search(clause) is not None
