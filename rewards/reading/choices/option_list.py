"""Reads a list of options: "B", "The answer is (B)", "A) Mass, C) Edema", "B: small left effusion", "AC", "A C".

An item is a letter, with or without its text or words that agree with it, or a text alone. Everything between the items
must be a word or mark that adds nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rewards.reading.choices.option_set import OptionSet, tokens_of
from rewards.reading.choices.phrases import QUALIFIES, agrees, named_by
from rewards.reading.words import tables

_OPENS = frozenset("([{")
_CLOSES = frozenset(")]}")
_AFTER_LETTER = frozenset(")]}.:=->→")
_SEPARATES = frozenset(",;/&+|\n•·")
_DECORATES = frozenset(":=#-*<>.,;([{\n•!→⇒")
_ENDS = frozenset(".!)]}>,;\n")
_VERBS = frozenset({"is", "are", "shows", "there", "has", "appears", "demonstrates"})
_ABBREVIATIONS = frozenset({"AF", "ABD", "ABG", "CF", "AFB"})
"""Words of medicine that look like a run of letters."""


class Listed(NamedTuple):
    """A list of options as read; `is_explicit`: its own words say that it is the answer ("Answer: B", "\\boxed{B}")."""

    letters: frozenset[str]
    is_explicit: bool


class _Item(NamedTuple):
    """One item: its letters, none for words that only qualify the item before, and the token after it."""

    letters: frozenset[str]
    end: int


def read_list(text: str, options: OptionSet) -> Listed | None:
    """The options that a text lists; None if it holds anything but a list of options."""
    tokens = tokens_of(text)
    words = [match[0] for match in tokens]
    start, is_explicit = skip_frame(words, options)
    run = _letter_run(words[start:], options)
    if run:
        return Listed(run, is_explicit)
    letters: frozenset[str] = frozenset()
    position = start
    while position < len(words):
        item = (
            _bracketed(text, tokens, position, letters, options)
            or _item(text, tokens, position, bool(letters), options)
            or _qualifying(text, tokens, position, letters, options)
        )
        if item is None:
            return None
        if not item.letters and not agrees(
            text[tokens[position].start() : tokens[item.end - 1].end()], letters, options
        ):
            return None
        letters |= item.letters
        if _is_tail(words[item.end :]):
            return Listed(letters, is_explicit) if letters else None
        following = _after_separator(words, item.end, options)
        if following is None:
            return None
        position = following
    return Listed(letters, is_explicit) if letters else None


def skip_frame(words: list[str], options: OptionSet) -> tuple[int, bool]:
    """The first word after those that only lead up to an option, and whether they say that an answer follows."""
    table = tables()
    position, is_explicit = 0, False
    while position < len(words):
        word = words[position]
        lowered = word.casefold()
        following = words[position + 1].casefold() if position + 1 < len(words) else ""
        if _starts_text(words, position, options):
            break
        if len(word) == 1 and options.is_letter(word) and not _is_article(word, following):
            break
        if options.yes_no and lowered in ("likely", "probable"):
            break
        if len(word) > 1 and _letter_run([word], options):
            break
        is_frame = lowered in table.frame or word in _DECORATES or _is_article(word, following)
        is_frame = is_frame or (not word.isascii() and table.frame_cjk.fullmatch(word) is not None)
        if not is_frame:
            break
        is_explicit = is_explicit or lowered in table.answer_nouns or not word.isascii()
        position += 1
    return position, is_explicit


def _is_article(word: str, following: str) -> bool:
    """ "a" before a word is an article; "A" is one before a noun for an answer ("A resposta")."""
    if word == "a":
        return following.isalpha() and following not in tables().between and following not in tables().tail
    return word == "A" and following in tables().answer_nouns and following not in tables().tail


def _starts_text(words: list[str], position: int, options: OptionSet) -> bool:
    return _own_text(words, position, options) is not None


def _own_text(words: list[str], position: int, options: OptionSet) -> tuple[str, int] | None:
    """The option whose text begins at a word, and the word after the text."""
    first = words[position].casefold().split("-")[0]
    for text, letter in options.by_words.get(first, ()):
        end = _matches(words, position, text)
        if end is not None:
            return letter, end
    return None


def _matches(words: list[str], position: int, text: tuple[str, ...]) -> int | None:
    """The word after a text that begins at a word; None if it is not there. Marks inside the text don't count."""
    place = 0
    while place < len(text) and position < len(words):
        parts = [part for part in re.split(r"[-'_]", words[position].casefold()) if part]
        if parts and parts == list(text[place : place + len(parts)]):
            place += len(parts)
        elif (parts and parts[0].isalnum()) or not place or words[position] in _SEPARATES:
            return None
        position += 1
    return position if place == len(text) else None


def _letter_run(words: list[str], options: OptionSet) -> frozenset[str] | None:
    """The letters of "AC" or "A C" and nothing else: capitals in their order, each once."""
    bare = [word for word in words if word not in _ENDS]
    letters = bare[0] if len(bare) == 1 else "".join(bare)
    is_run = len(letters) > 1 and all(letter in options.texts for letter in letters)
    is_apart = len(bare) > 1 and all(len(word) == 1 for word in bare) and not _SEPARATES.intersection(words[:-1])
    if not is_run or not (len(bare) == 1 or is_apart) or list(letters) != sorted(set(letters)):
        return None
    if len(bare) == 1 and letters in _ABBREVIATIONS:
        return None
    return frozenset(letters)


def _bracketed(
    text: str, tokens: list[re.Match[str]], position: int, letters: frozenset[str], options: OptionSet
) -> _Item | None:
    """Words in brackets after an item that say the same as the items so far: "A, C (mass and edema)"."""
    if not letters or tokens[position][0] not in _OPENS:
        return None
    end = position + 1
    while end < len(tokens) and tokens[end][0] not in _CLOSES:
        end += 1
    inner = text[tokens[position].end() : tokens[end].start() if end < len(tokens) else len(text)]
    if inner.strip().upper() in letters or all(agrees(part, letters, options) for part in _parts(inner)):
        return _Item(letters, min(end + 1, len(tokens)))
    return None


def _qualifying(
    text: str, tokens: list[re.Match[str]], position: int, letters: frozenset[str], options: OptionSet
) -> _Item | None:
    """A phrase that says nothing else than the items so far: "effusion, pleural"."""
    end = _phrase_end([match[0] for match in tokens], position, options)
    phrase = text[tokens[position].start() : tokens[end - 1].end()]
    return _Item(QUALIFIES, end) if letters and end > position and agrees(phrase, letters, options) else None


def _parts(text: str) -> list[str]:
    """The phrases of a list in brackets."""
    return [part for part in re.split(r"[,;/]|\band\b", text) if part.strip()]


def _item(text: str, tokens: list[re.Match[str]], position: int, is_later: bool, options: OptionSet) -> _Item | None:
    """The item that begins at a word. A later item is no sentence: that would be an explanation."""
    words = [match[0] for match in tokens]
    while position < len(words) and (words[position] in _OPENS or words[position].casefold() in ("option", "choice")):
        position += 1
    if position == len(words):
        return None
    own = _own_text(words, position, options)
    if own is not None and (own[1] == len(words) or words[own[1]].casefold() not in ("or", "?")):
        return _text_item(text, tokens, own, options)
    word = words[position]
    if len(word) == 1 and options.is_letter(word):
        return _lettered_item(text, tokens, position, options)
    end = _phrase_end(words, position, options)
    if is_later and _VERBS.intersection(map(str.casefold, words[position:end])):
        return None
    named = named_by(text[tokens[position].start() : tokens[end - 1].end()], options) if end > position else None
    if named is None or len(named) > 1:
        return None
    return _Item(named, _with_letter(words, end, named))


def _text_item(text: str, tokens: list[re.Match[str]], own: tuple[str, int], options: OptionSet) -> _Item | None:
    """An option's own text, with its letter or words that agree behind it: "Edema (B)", "Edema on the left"."""
    words = [match[0] for match in tokens]
    letters, end = frozenset(own[0]), own[1]
    after = _with_letter(words, end, letters)
    if after != end or _ends_item(words, end, options):
        return _Item(letters, after)
    stop = _phrase_end(words, end, options)
    phrase = text[tokens[end].start() : tokens[stop - 1].end()]
    return _Item(letters, stop) if agrees(phrase, letters, options) else None


def _lettered_item(text: str, tokens: list[re.Match[str]], position: int, options: OptionSet) -> _Item | None:
    words = [match[0] for match in tokens]
    letters = frozenset(words[position].upper())
    end = position + 1
    while end < len(words) and words[end] in _AFTER_LETTER:
        end += 1
    if _ends_item(words, end, options):
        return _Item(letters, end)
    opened = end + 1 if words[end] in _OPENS else end
    own = _own_text(words, opened, options) if opened < len(words) else None
    if own is not None and own[0] in letters and _ends_item(words, own[1], options):
        return _Item(letters, own[1])
    stop = _phrase_end(words, end, options)
    phrase = text[tokens[end].start() : tokens[stop - 1].end()]
    return _Item(letters, stop) if stop > end and agrees(phrase, letters, options) else None


def _with_letter(words: list[str], end: int, letters: frozenset[str]) -> int:
    """The word after the option's letter in brackets, if that follows: "Edema (B)", "Edema (option B)"."""
    place = end + 1
    if end < len(words) and words[end] in _OPENS:
        if place < len(words) and words[place].casefold() == "option":
            place += 1
        if place + 1 < len(words) and words[place] in letters and words[place + 1] in _CLOSES:
            return place + 2
    return end


def _ends_item(words: list[str], position: int, options: OptionSet) -> bool:
    if position >= len(words):
        return True
    word = words[position]
    return (
        word in _SEPARATES
        or word in _ENDS
        or word in _OPENS
        or word.casefold() in tables().between
        or _is_tail(words[position:])
        or _is_marked_letter(words, position, options)
    )


def _phrase_end(words: list[str], position: int, options: OptionSet) -> int:
    """The word after a phrase: at a separator outside brackets, before a marked letter, or at the end."""
    depth = 0
    end = position
    while end < len(words):
        word = words[end]
        if word in _OPENS and not _is_marked_letter(words, end, options):
            depth += 1
        elif word in _CLOSES:
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and end > position and _parts_phrases(words, end, options):
            break
        end += 1
    while end > position and words[end - 1] in _ENDS and words[end - 1] not in _CLOSES:
        end -= 1
    return end


def _parts_phrases(words: list[str], position: int, options: OptionSet) -> bool:
    word = words[position]
    is_stop = word == "." and position + 1 < len(words)
    return (
        is_stop
        or word in _SEPARATES
        or word.casefold() in tables().between
        or _is_marked_letter(words, position, options)
    )


def _is_marked_letter(words: list[str], position: int, options: OptionSet) -> bool:
    """Whether "C)", "C.", "C:" or "(C)" begins here."""
    if words[position] in _OPENS and position + 2 < len(words):
        return options.is_letter(words[position + 1]) and words[position + 2] in _CLOSES
    following = words[position + 1] if position + 1 < len(words) else ""
    return words[position] in options.texts and following in (")", ".", ":", "]") and following != ""


def _is_tail(words: list[str]) -> bool:
    """Whether nothing follows but "is correct" and the like, or marks of punctuation."""
    bare = [word.casefold() for word in words if word not in _ENDS]
    if not bare or (bare[0] in ("is", "are") and len(bare) > 1 and tables().tail.issuperset(bare)):
        return True
    return all(not word.isascii() and tables().frame_cjk.fullmatch(word) for word in bare)


def _after_separator(words: list[str], position: int, options: OptionSet) -> int | None:
    """The first word of the next item; None if no separator is there."""
    start = position
    while position < len(words):
        word = words[position]
        is_number = word.isdecimal() and position + 1 < len(words) and words[position + 1] in (".", ")")
        if word in _SEPARATES or word in _ENDS or word.casefold() in tables().between or word in ("-", "*"):
            position += 1
        elif is_number and position > start:
            position += 2
        elif (
            position > start
            and word.casefold() in ("answer", "final", "the", "is", ":")
            and not _starts_text(words, position, options)
        ):
            position += 1
        else:
            break
    if (
        position == len(words)
        or position > start
        or _is_marked_letter(words, position, options)
        or words[position] in _OPENS
    ):
        return position
    return None
