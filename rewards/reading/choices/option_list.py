"""Reads a list of options: "B", "The answer is (B)", "A) Mass, C) Edema", "B: small left effusion", "AC", "A C".

An item is a letter, with or without its text or words that agree with it, or a text alone. Everything between the items
must be a word or mark that adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rewards.reading.choices.option_set import OptionSet
from rewards.reading.choices.option_tokens import (
    CLOSES,
    ENDS,
    MAX_PHRASE,
    OPENS,
    SEPARATES,
    OptionTokens,
    is_cjk_frame,
)
from rewards.reading.choices.phrases import QUALIFIES, agrees, named_by
from rewards.reading.words import tables

_AFTER_LETTER = frozenset(")]}.:=->→")
_BEFORE_LETTER = frozenset("-:=→")
_DECORATES = frozenset(":=#-*<>.,;([{)]}\n•!→⇒")
_VERBS = frozenset({"is", "are", "shows", "there", "has", "appears", "demonstrates"})
_CONFIRMS = frozenset(
    {"correct", "true", "right", "yes", "present", "the correct answer", "correct answer", "best answer"}
)
_ABBREVIATIONS = frozenset({"AF", "ABD", "ABG", "CF", "AFB"})
"""Words of medicine that look like a run of letters."""
_MAX_ITEMS = 30  # no question has more than seven options; a longer list is not an answer


class Listed(NamedTuple):
    """A list of options as read; `is_explicit`: its own words say that it is the answer ("Answer: B", "\\boxed{B}")."""

    letters: frozenset[str]
    is_explicit: bool


class _Item(NamedTuple):
    """One item: its letters, none for words that only qualify the item before, and the place after it."""

    letters: frozenset[str]
    end: int


def read_list(text: str, options: OptionSet) -> Listed | None:
    """The options that a text lists; None if it holds anything but a list of options."""
    tokens = OptionTokens(text, options)
    position, is_explicit = skip_frame(tokens)
    run = _letter_run(tokens.words[position:], options)
    if run:
        return Listed(run, is_explicit)
    letters: frozenset[str] = frozenset()
    if position + 1 < tokens.count and tokens.words[position + 1] in OPENS:  # "AC (mass, edema)"
        letters = _letter_run([tokens.words[position]], options) or letters
        position += bool(letters)
    for _ in range(_MAX_ITEMS):
        if position >= tokens.count:
            break
        item = _next_item(tokens, position, letters)
        if item is None:
            return None
        if not item.letters and not agrees(tokens.between(position, item.end), letters, options):
            return None
        letters |= item.letters
        following = tokens.count if tokens.is_tail(item.end) else tokens.after_separator(item.end)
        if following is None:
            return None
        position = following
    return Listed(letters, is_explicit) if letters and position >= tokens.count else None


def skip_frame(tokens: OptionTokens) -> tuple[int, bool]:
    """The first place after the words that only lead up to an option, and whether they say that an answer follows."""
    table = tables()
    position, is_explicit = 0, False
    while position < tokens.count and not _begins_answer(tokens, position):
        word, lowered = tokens.words[position], tokens.lowered(position)
        is_article = _is_article(word, tokens.lowered(position + 1))
        if not (lowered in table.frame or word in _DECORATES or is_article or is_cjk_frame(word)):
            break
        is_explicit = is_explicit or lowered in table.answer_nouns or is_cjk_frame(word)
        position += 1
    return position, is_explicit


def _begins_answer(tokens: OptionTokens, position: int) -> bool:
    """Whether an option begins at a place, or a word that doubts yes or no ("likely")."""
    word = tokens.words[position]
    if tokens.own_text(position):
        return True
    if len(word) == 1:
        return tokens.options.is_letter(word) and not _is_article(word, tokens.lowered(position + 1))
    if tokens.options.yes_no and word.casefold() in ("likely", "probable"):
        return True
    return _letter_run([word], tokens.options) is not None


def _is_article(word: str, following: str) -> bool:
    """ "a" before a word is an article; "A" is one before a noun for an answer ("A resposta")."""
    if word not in ("a", "A") or following in tables().tail:
        return False
    if word == "a":
        return following.isalpha() and following not in tables().between
    return following in tables().answer_nouns


def _letter_run(words: Sequence[str], options: OptionSet) -> frozenset[str] | None:
    """The letters of "AC" or "A C" and nothing else: capitals in their order, each once."""
    bare = [word for word in words if word not in ENDS]
    letters = "".join(bare)
    if not 1 < len(letters) <= len(options.texts) or not options.texts.keys() >= set(letters):
        return None
    if list(letters) != sorted(set(letters)):
        return None
    if len(bare) == 1:
        return None if letters in _ABBREVIATIONS else frozenset(letters)
    is_apart = len(bare) == len(letters) and not SEPARATES.intersection(words[:-1])
    return frozenset(letters) if is_apart else None


def _next_item(tokens: OptionTokens, position: int, letters: frozenset[str]) -> _Item | None:
    """The item at a place, after the items with these letters."""
    return (
        _in_brackets(tokens, position, letters)
        or _item(tokens, position, is_first=not letters)
        or _qualifying(tokens, position, letters)
    )


def _in_brackets(tokens: OptionTokens, position: int, letters: frozenset[str]) -> _Item | None:
    """Words in brackets after an item that say the same as the items so far: "A, C (mass and edema)"."""
    if not letters or tokens.words[position] not in OPENS:
        return None
    end = position + 1
    limit = min(tokens.count, position + MAX_PHRASE)
    while end < limit and tokens.words[end] not in CLOSES:
        end += 1
    inner = tokens.between(position + 1, end)
    if len(letters) == 1 and inner.strip(" .").casefold() in _CONFIRMS:
        return _Item(letters, min(end + 1, tokens.count))
    if inner.strip().upper() in letters or all(agrees(part, letters, tokens.options) for part in _parts(inner)):
        return _Item(letters, min(end + 1, tokens.count))
    return None


def _parts(text: str) -> list[str]:
    """The phrases of a list in brackets."""
    return [part for part in re.split(r"[,;/]|\band\b", text) if part.strip()]


def _qualifying(tokens: OptionTokens, position: int, letters: frozenset[str]) -> _Item | None:
    """A phrase that says nothing else than the items so far: "effusion, pleural"."""
    end = tokens.phrase_end(position)
    is_same = letters and end > position and agrees(tokens.between(position, end), letters, tokens.options)
    return _Item(QUALIFIES, end) if is_same else None


def _item(tokens: OptionTokens, position: int, is_first: bool) -> _Item | None:
    """The item that begins at a place. A later item is no sentence: that would be an explanation."""
    while tokens.lowered(position) in OPENS or tokens.lowered(position) in ("option", "choice"):
        position += 1
    if position >= tokens.count:
        return None
    own = tokens.own_text(position)
    if own is not None and tokens.lowered(own[1]) not in ("or", "?"):
        return _text_item(tokens, *own)
    if len(tokens.words[position]) == 1 and tokens.options.is_letter(tokens.words[position]):
        return _lettered_item(tokens, position)
    end = tokens.phrase_end(position)
    said = frozenset(map(str.casefold, tokens.words[position:end]))
    if not is_first and said & (_VERBS | tables().answer_nouns):
        return None
    named = named_by(tokens.between(position, end), tokens.options) if end > position else None
    if named is None or len(named) > 1:
        return None
    return _Item(named, tokens.after_letter(end, named))


def _text_item(tokens: OptionTokens, letter: str, end: int) -> _Item | None:
    """An option's own text, with its letter or words that agree after it: "Edema (B)", "Edema on the left"."""
    letters = frozenset(letter)
    after = tokens.after_letter(end, letters)
    if (
        tokens.lowered(end) in _BEFORE_LETTER
        and tokens.lowered(end + 1).upper() == letter
        and tokens.ends_item(end + 2)
    ):
        after = end + 2  # "Edema - B"
    if after != end or tokens.ends_item(end):
        return _Item(letters, after)
    stop = tokens.phrase_end(end)
    return _Item(letters, stop) if agrees(tokens.between(end, stop), letters, tokens.options) else None


def _lettered_item(tokens: OptionTokens, position: int) -> _Item | None:
    """A letter, alone, with its own text, or with words that agree with it."""
    letters = frozenset(tokens.words[position].upper())
    end = position + 1
    while tokens.lowered(end) in _AFTER_LETTER:
        end += 1
    if tokens.ends_item(end):
        return _Item(letters, end)
    own = tokens.own_text(end + 1 if tokens.words[end] in OPENS else end)
    if own is not None and own[0] in letters and tokens.ends_item(own[1]):
        return _Item(letters, own[1])
    stop = tokens.phrase_end(end)
    is_same = stop > end and agrees(tokens.between(end, stop), letters, tokens.options)
    return _Item(letters, stop) if is_same else None
