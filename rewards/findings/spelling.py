"""Mends a word with one wrong letter if it can only be one word for a finding."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache

from rewards.findings.ontology import load_ontology

_MIN_LETTERS = 6  # a shorter word has too many neighbours: "mask" is no mass
_LONG = 8  # letters; in a word as long as this any letter may be wrong


@lru_cache(maxsize=65_536)  # a text repeats its words
def corrected(word: str) -> str:
    """The word for a finding that is one letter away: missing, doubled, wrong or changed with its neighbour.

    A word that is as near to two of them, or a short one that is not plainly one of them, stays as it is.
    """
    if not (_MIN_LETTERS - 1 <= len(word) <= 24 and word.isalpha()):
        return word
    wholes = _neighbours()
    found = set(wholes.get(word, ()))
    for shorter in _one_less(word):
        found.update(wholes.get(shorter, ()))
    near = {candidate for candidate in found if _is_plain_slip(word, candidate)}
    meanings = {load_ontology().base_words.get(candidate, candidate) for candidate in near}
    return meanings.pop() if len(meanings) == 1 else word


@cache
def _neighbours() -> dict[str, tuple[str, ...]]:
    """Each word for a finding, and it without any one letter, to the words that it comes from."""
    ontology = load_ontology()
    wholes: dict[str, tuple[str, ...]] = {}
    for word in sorted(ontology.core_words):
        if len(word) >= _MIN_LETTERS or word == "edema":
            for part in {word, *_one_less(word)}:
                wholes[part] = (*wholes.get(part, ()), word)
    return wholes


def _one_less(word: str) -> Iterator[str]:
    for position in range(len(word)):
        yield word[:position] + word[position + 1 :]


def _is_plain_slip(word: str, candidate: str) -> bool:
    """Whether one letter was dropped, added, changed or swapped; in a short word its ends must be right."""
    if abs(len(word) - len(candidate)) == 1:
        longer, shorter = (word, candidate) if len(word) > len(candidate) else (candidate, word)
        return shorter in _one_less(longer) and (len(candidate) >= _LONG or word[0] == candidate[0])
    if len(word) != len(candidate):
        return False
    wrong = [place for place in range(len(word)) if word[place] != candidate[place]]
    if len(wrong) == 1:
        return len(word) >= _LONG
    is_swap = len(wrong) == 2 and wrong[1] == wrong[0] + 1
    return is_swap and word[wrong[0]] == candidate[wrong[1]] and word[wrong[1]] == candidate[wrong[0]]
