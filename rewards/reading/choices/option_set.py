"""The options of a closed question, prepared for reading: their words, findings and sides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.reading.plain import plain
from rewards.reading.words import tables

TOKEN = re.compile(r"[^\W_]{2,}(?:-[^\W_]+)++|[^\W_]+(?:'[^\W_]+)*+|\n|[^\w\s]|_+")


def tokens_of(text: str) -> list[re.Match[str]]:
    """Words (hyphenated ones whole), marks of punctuation and line ends."""
    return list(TOKEN.finditer(text))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, hyphenated ones in parts."""
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


@dataclass(frozen=True)
class OptionSet:
    """The options of a question; equal options share one object (`option_set`).

    Attributes:
        texts: letter to text.
        question: the question, "" if it isn't known.
    """

    texts: Mapping[str, str]
    question: str

    @cached_property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Letter to the words of its text."""
        return {letter: words_of(plain(text)) for letter, text in self.texts.items()}

    @cached_property
    def by_words(self) -> dict[str, list[tuple[tuple[str, ...], str]]]:
        """First word to the texts that begin with it, the longest first, each with its letter."""
        texts = [(words, letter) for letter, words in self.words.items() if words]
        if self.yes_no:
            texts += [(tuple(said.split()), self.yes_no[answer]) for said, answer in _words_for_yes_no()]
        found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for words, letter in sorted(texts, key=lambda item: -len(item[0])):
            found.setdefault(words[0], []).append((words, letter))
        return found

    @cached_property
    def finding(self) -> dict[str, str]:
        """Letter to the one finding that its text names, or to `NO_FINDING`; not the options that name none."""
        known = load_ontology().findings
        found = {}
        for letter, text in self.texts.items():
            name = canonical(plain(text))
            if name not in known and name != NO_FINDING:
                named = {mention.finding for mention in extract(text).mentions if mention.status == "present"}
                name = named.pop() if len(named) == 1 else ""
            if name:
                found[letter] = name
        return found

    @cached_property
    def letters_of(self) -> dict[str, frozenset[str]]:
        """Finding to the letters of the options that name it, more than one if a side or a size tells them apart."""
        letters: dict[str, set[str]] = {}
        for letter, name in self.finding.items():
            letters.setdefault(name, set()).add(letter)
        return {name: frozenset(found) for name, found in letters.items()}

    @cached_property
    def names(self) -> dict[str, frozenset[str]]:
        """Canonical text of an option to its letters."""
        letters: dict[str, set[str]] = {}
        for letter, text in self.texts.items():
            letters.setdefault(canonical(plain(text)), set()).add(letter)
        return {name: frozenset(found) for name, found in letters.items()}

    @cached_property
    def telling_words(self) -> frozenset[str]:
        """Qualifiers that occur in an option's text: there they tell options apart."""
        used = frozenset(word for words in self.words.values() for word in words)
        return used & tables().qualifiers

    @cached_property
    def healthy_letter(self) -> str | None:
        """The option for a healthy film, if there is just one."""
        letters = self.letters_of.get(NO_FINDING, frozenset())
        return next(iter(letters)) if len(letters) == 1 else None

    @cached_property
    def yes_no(self) -> dict[str, str] | None:
        """ "yes" and "no" to their letters, if these are the options."""
        letters = {text.strip().casefold(): letter for letter, text in self.texts.items()}
        return letters if len(self.texts) == 2 and letters.keys() == {"yes", "no"} else None

    def is_letter(self, token: str) -> bool:
        return token.upper() in self.texts


def _words_for_yes_no() -> list[tuple[str, str]]:
    """Words that mean yes or no as an answer of their own, with "yes" or "no"."""
    table = tables()
    leading_up = {"correct", "incorrect"}  # "The correct answer is no"
    said = [(word, "yes") for word in table.yes - leading_up] + [(word, "no") for word in table.no - leading_up]
    return said + list(table.two_words.items())


def option_set(options: Mapping[str, str], question: str = "") -> OptionSet:
    """The options, prepared once for all responses of a group."""
    return _option_set(tuple(options.items()), question)


@lru_cache(maxsize=1024)
def _option_set(options: tuple[tuple[str, str], ...], question: str) -> OptionSet:
    return OptionSet(dict(options), question)
