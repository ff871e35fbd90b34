"""Reads the final answer to a closed question. What cannot be read with certainty is not guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Literal

from rewards.reading.choices.explanation import objection
from rewards.reading.choices.option_list import read_list, skip_frame
from rewards.reading.choices.option_set import OptionSet, option_set
from rewards.reading.choices.option_tokens import OptionTokens
from rewards.reading.choices.pointed import read_pointed_letter
from rewards.reading.choices.sentence import read_sentence
from rewards.reading.choices.statements import read_letter_with_reason, read_with_explanation
from rewards.reading.choices.verdict_list import read_marked, read_verdicts
from rewards.reading.choices.yes_no import asked, read_yes_no
from rewards.reading.choices.yes_no import objection as yes_no_objection
from rewards.reading.marks import MARKS, MAX_CHARACTERS, read_marks
from rewards.reading.plain import plain
from rewards.reading.reading import Reading, unread
from rewards.reading.structured import read_json, without_tables

_PLAIN = re.compile(r"[(\[]?([A-G])(?:[)\].:]\s*|\Z)(\S.*)?", re.IGNORECASE)
_AFTER_LETTER = frozenset(")]}:.-=")
MARKS_TWICE = re.compile(f"[{MARKS}][^{MARKS}]*+[{MARKS}]")
_AFTER_WORD = frozenset(",.;:!-")
_PERCENT = r"\d{1,3}(?:\.\d+)?\s*%"
_CONFIDENCE = re.compile(
    rf"[-,;(\s]*\(?(?:(?:with|confidence|probability)\s*[:=]?\s*)*{_PERCENT}"
    r"(?:\s*(?:confiden(?:t|ce)|sure|certain(?:ty)?|probability|likely))?\)?",
    re.IGNORECASE,
)
_ALL_PERCENT = 101  # what the shares of one answer add up to
_STRANGE_LETTER = re.compile(r"[(\[]?([A-Z])[)\].:]*")


def read_choice(answer: str, options: Mapping[str, str], question: str = "") -> Reading:
    """The option letters that an answer names. One mark accepts all that it names, or rejects it. Never raises.

    Args:
        question: what was asked. A sentence answers yes or no only to a known question.
    """
    if len(answer) > MAX_CHARACTERS:
        return unread("too long", f"{len(answer)} characters")
    match = _PLAIN.fullmatch(answer)
    if match:  # as nearly all answers are: a letter, with its text or alone
        letter, rest = match[1].upper(), match[2]
        if letter in options and (rest is None or rest.casefold() == options[letter].casefold()):
            return Reading((letter,), "an option")
    said = read_json(answer)
    if said:
        answer = f"{said.answer}\n{said.reason}"
    text = plain(without_tables(answer))
    if not text:
        return unread("empty")
    prepared = option_set(options, question)
    if not text.isascii() and MARKS_TWICE.search(text):
        return read_marked(text, prepared) or unread("contradicts itself", "its marks")
    percents = re.findall(_PERCENT, text) if "%" in text else []
    if len(percents) == 1:
        text = _CONFIDENCE.sub("", text).strip()
    elif percents and sum(float(percent.rstrip(" %")) for percent in percents) <= _ALL_PERCENT:
        return unread("hedges", ", ".join(percents))
    text, marks = read_marks(text)
    return _read(text, prepared) if all(marks) else unread("its mark rejects it", answer.strip())


def _read(text: str, options: OptionSet) -> Reading:
    found = None if options.yes_no else read_verdicts(text, options)
    if found:
        return found
    listed = read_list(text, options)
    if listed and options.yes_no and len(listed.letters) > 1:
        return unread("contradicts itself", text)
    if listed:
        return Reading(tuple(sorted(listed.letters)), "an option" if len(listed.letters) == 1 else "a list of options")
    if options.yes_no:
        return _answer_to_yes_no(text, options)
    objects = partial(objection, options=options)
    found = (
        read_with_explanation(text, options, objects)
        or read_letter_with_reason(text, options, objects)
        or read_pointed_letter(text, options, objects)
    )
    if found:
        return found
    found = read_sentence(text, options)
    strange = _STRANGE_LETTER.fullmatch(text)
    if found.value is None and strange and strange[1] not in options.texts:
        return unread("names a letter that is no option", strange[1])
    return found


def _answer_to_yes_no(text: str, options: OptionSet) -> Reading:
    """Yes or no after words that lead up to it ("The answer is no, there is none"), or after its letter."""
    tokens = OptionTokens(text, options)
    position, is_explicit = skip_frame(tokens)
    following = tokens.lowered(position + 1)
    if position < tokens.count and tokens.words[position] in options.texts and following in _AFTER_LETTER:
        rest = tokens.between(position + 2, tokens.count)
        return _lettered(tokens.words[position], rest.strip(" )]}:.-"), options)
    if position < tokens.count and (is_explicit or following in _AFTER_WORD):
        found = read_yes_no(tokens.between(position, tokens.count), options)
        if found.unread != "says nothing of what was asked":
            return found
    found = read_yes_no(text, options)
    if found.value is None and found.unread == "says nothing of what was asked":
        return read_with_explanation(text, options, partial(_objection, options=options)) or found
    return found


def _objection(text: str, letters: frozenset[str], options: OptionSet) -> Reading | None:
    """Why an explanation does not go with yes or no."""
    word: Literal["yes", "no"] = "yes" if options.yes_no and options.yes_no["yes"] in letters else "no"
    return unread("asks a question", text) if "?" in text else yes_no_objection(text, word, asked(options.question))


def _lettered(letter: str, rest: str, options: OptionSet) -> Reading:
    """ "A) Yes, on the left", "B. There is no effusion": the rest must give the same answer."""
    said = read_yes_no(rest, options)
    if said.value is None and said.unread == "says nothing of what was asked":
        word = options.texts[letter].strip()
        said = read_yes_no(f"{word}, {rest}", options)
    if said.value and said.value != (letter,):
        return unread("contradicts itself", f"{letter} and {rest}")
    return said
