"""How much of a reference a response has: F1 of sets, BLEU-1 and ROUGE-L of texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from rewards.findings.stem import stem

_WORD = re.compile(r"[a-z0-9]+")
_BETWEEN_WORDS = bytes(byte for byte in range(256) if not _WORD.match(chr(byte)))


def f1(found: Set[str], gold: Set[str], weights: Mapping[str, float] | None = None) -> float:
    """F1 of two sets; 1 where both are empty, 0 where one is. A member counts by its weight, 1 where it has none."""
    if not found and not gold:
        return 1.0
    if not weights:
        return 2 * len(found & gold) / (len(found) + len(gold))

    def weight(names: Set[str]) -> float:
        return math.fsum(weights.get(name, 1.0) for name in names)  # exact: a set has no order to add up in

    return 2 * weight(found & gold) / (weight(found) + weight(gold))


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F-measure with Porter's stemmer, in [0, 1]; 0 where either has no word.

    The same as `rouge_score.rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)`.
    """
    ours, theirs = _stems(text), _stems(reference)
    if not ours or not theirs:
        return 0.0
    shared = longest_common_subsequence(ours, theirs)
    precision, recall = shared / len(ours), shared / len(theirs)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def order_kept(text: str, reference: str) -> float:
    """1, but for a text that is just the reference's words in another order: the share of them that still stand in order."""
    letters, theirs = _letters_and_words(reference)
    if len(text) < letters:
        return 1.0
    lower = text.lower()
    if _count_letters(lower) != letters:
        return 1.0
    ours = _WORD.findall(lower)
    if ours == theirs or sorted(ours) != sorted(theirs):
        return 1.0
    return longest_common_subsequence(ours, theirs) / len(theirs)


@lru_cache(maxsize=256)  # the reference of a group is read once, not once for each response
def _letters_and_words(text: str) -> tuple[int, list[str]]:
    lower = text.lower()
    return _count_letters(lower), _WORD.findall(lower)


def _count_letters(lower: str) -> int:
    """Characters that stand in words."""
    return len(lower.encode(errors="replace").translate(None, _BETWEEN_WORDS))


def bleu_1(words: Sequence[str], reference: Sequence[str]) -> float:
    """BLEU of single words against one reference, in [0, 1]; both come as lists of words, split as the caller likes.

    The same as `nltk.translate.bleu_score.sentence_bleu([reference], words, weights=(1,))`.
    """
    left: dict[str, int] = {}  # occurrences in the reference that no word has taken
    for word in reference:
        left[word] = left.get(word, 0) + 1
    shared = 0
    for word in words:
        if count := left.get(word):
            left[word] = count - 1
            shared += 1
    if not shared:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(words)))
    return brevity * math.exp(math.log(shared / len(words)))  # as nltk has it: who rounds sees the last bit


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Its length. One bit of an integer is one word of `a`: O(len(b)) operations on numbers of len(a) bits (Hyyrö 2004)."""
    if len(a) > len(b):
        a, b = b, a
    where: dict[str, int] = {}
    for position, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << position
    full = (1 << len(a)) - 1
    unmatched = full  # a zero bit: the subsequence grows at this word of `a`
    for word in b:
        if mask := where.get(word):
            hit = unmatched & mask
            unmatched = ((unmatched + hit) | (unmatched - hit)) & full
    return len(a) - unmatched.bit_count()


def _stems(text: str) -> list[str]:
    return [stem(word) if len(word) > 3 else word for word in _WORD.findall(text.lower())]
