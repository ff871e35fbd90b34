"""The words and marks of an answer, with where options, phrases and separators begin and end among them."""

from __future__ import annotations

import re
from collections.abc import Callable

from rewards.reading.choices.option_set import OptionSet, tokens_of
from rewards.reading.words import tables

OPENS = frozenset("([{")
CLOSES = frozenset(")]}")
SEPARATES = frozenset(",;/&+|\n•·")
ENDS = frozenset(".!)]}>,;\n")
_BEGIN_TAIL = frozenset(["is", "are", "only", "alone", "fit", "fits", "match", "matches", "apply", "applies"])
MAX_PHRASE = 60  # words and marks of a phrase, and of what stands in brackets


class OptionTokens:
    """An answer in words and marks."""

    def __init__(self, text: str, options: OptionSet) -> None:
        self.options = options
        self._text = text
        self._matches = tokens_of(text)
        self.words = [match[0] for match in self._matches]
        self.count = len(self.words)
        self._ends_from = self._from(lambda word: word in ENDS)
        self._tail_from = self._from(lambda word: word in ENDS or word.casefold() in tables().tail)
        self._cjk_from = self._from(lambda word: word in ENDS or is_cjk_frame(word))

    def _from(self, belongs: Callable[[str], bool]) -> int:
        """The first place from which on all words belong."""
        place = self.count
        while place and belongs(self.words[place - 1]):
            place -= 1
        return place

    def between(self, start: int, end: int) -> str:
        """The text from one place up to another, exclusive."""
        if start >= end:
            return ""
        return self._text[self._matches[start].start() : self._matches[end - 1].end()]

    def lowered(self, position: int) -> str:
        """The word at a place in lower case, "" after the end."""
        return self.words[position].casefold() if position < self.count else ""

    def own_text(self, position: int) -> tuple[str, int] | None:
        """The option whose text begins at a place, and the place after the text; the longest text counts."""
        first = self.lowered(position).split("-")[0]
        for text, letter in self.options.by_words.get(first, ()):
            end = self._after_text(position, text)
            if end is not None:
                return letter, end
        return None

    def _after_text(self, position: int, text: tuple[str, ...]) -> int | None:
        """The place after a text that begins at a place; None if it is not there. Marks inside the text don't count."""
        done = 0
        while done < len(text) and position < self.count:
            word = self.words[position]
            parts = tuple(part for part in re.split(r"[-'_]", word.casefold()) if part)
            if parts == text[done : done + len(parts)] and parts:
                done += len(parts)
            elif word[0].isalnum() or not done or word in SEPARATES:
                return None
            position += 1
        return position if done == len(text) else None

    def is_tail(self, position: int) -> bool:
        """Whether nothing follows but "is correct" and the like, or marks of punctuation."""
        if position >= self._ends_from or position >= self._cjk_from:
            return True
        first = self.lowered(position)
        noun = position + (2 if first in ("-", ",") else 1)
        if self._tail_from > noun:
            return False
        if self.lowered(noun - 1) == "the":  # "B, the best choice"
            return noun < self._ends_from
        needs_more = first in ("is", "are")  # "is" needs "correct" after it, "only" needs nothing
        return first in _BEGIN_TAIL and self._tail_from <= position < self._ends_from - needs_more

    def is_marked_letter(self, position: int) -> bool:
        """Whether "C)", "C.", "C:" or "(C)" begins at a place."""
        if self.words[position] in OPENS:
            return self.options.is_letter(self.lowered(position + 1)) and self.lowered(position + 2) in CLOSES
        return self.words[position] in self.options.texts and self.lowered(position + 1) in (")", ".", ":", "]")

    def ends_item(self, position: int) -> bool:
        """Whether an item may end before a place."""
        if position >= self.count or self.is_tail(position):
            return True
        word = self.words[position]
        return self._separates(position) or word in ENDS or word in OPENS or self.is_marked_letter(position)

    def phrase_end(self, position: int) -> int:
        """The place after a phrase: at a separator outside brackets, before a marked letter, or at the end."""
        depth = 0
        end = position
        limit = min(self.count, position + MAX_PHRASE)
        while end < limit:
            word = self.words[end]
            if word in OPENS and not self.is_marked_letter(end):
                depth += 1
            elif word in CLOSES:
                if depth == 0:
                    break
                depth -= 1
            elif depth == 0 and end > position and self._parts_phrases(end):
                break
            end += 1
        while end > position and self.words[end - 1] in ENDS and self.words[end - 1] not in CLOSES:
            end -= 1
        return end

    def _parts_phrases(self, position: int) -> bool:
        is_stop = self.words[position] == "." and position + 1 < self.count
        return is_stop or self._separates(position) or self.is_marked_letter(position)

    def _separates(self, position: int) -> bool:
        return self.words[position] in SEPARATES or self.lowered(position) in tables().between

    def after_separator(self, position: int) -> int | None:
        """The first place of the next item; None if no separator is there."""
        start = position
        while position < self.count:
            if self._separates(position) or self.words[position] in ENDS or self.words[position] in ("-", "*"):
                position += 1
            elif position > start and self._is_number(position):
                position += 2
            else:
                break
        if position == self.count or position > start:
            return position
        return position if self.words[position] in OPENS or self.is_marked_letter(position) else None

    def _is_number(self, position: int) -> bool:
        """Whether the number of a list stands at a place: "2." or "2)"."""
        return self.words[position].isdecimal() and self.lowered(position + 1) in (".", ")")

    def after_letter(self, end: int, letters: frozenset[str]) -> int:
        """The place after the option's letter in brackets, if that follows: "Edema (B)", "Edema (option B)"."""
        if self.lowered(end) not in OPENS:
            return end
        place = end + 2 if self.lowered(end + 1) == "option" else end + 1
        is_letter = self.lowered(place).upper() in letters and self.lowered(place + 1) in CLOSES
        return place + 2 if is_letter else end


def is_cjk_frame(word: str) -> bool:
    """Whether a word of a script without blanks only leads up to an option, or follows one."""
    return not word.isascii() and tables().frame_cjk.fullmatch(word) is not None
