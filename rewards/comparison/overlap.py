"""How much a response shares with a reference: F1 of sets, BLEU-1 and ROUGE-L of texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from rewards.findings.stem import stem

_WORD = re.compile(r"[a-z0-9]+")
_BETWEEN_WORDS = bytes(byte for byte in range(256) if not _WORD.match(chr(byte)))


def f1(
    found: Set[str],
    gold: Set[str],
    weights: Mapping[str, float] | None = None,
    likenesses: Mapping[str, float] | None = None,
) -> float:
    """F1 of two sets: 1 if both are empty, 0 if only one is. A member counts by its weight, by default 1.

    Args:
        likenesses: how much of a hit a common member is, in [0, 1]; by default 1.
    """
    if not found and not gold:
        return 1.0
    if not weights and not likenesses:
        return 2 * len(found & gold) / (len(found) + len(gold))
    weight_of, likeness_of = weights or {}, likenesses or {}

    def weight(names: Set[str]) -> float:
        return math.fsum(weight_of.get(name, 1.0) for name in names)  # exact, so that a set's order doesn't matter

    hits = math.fsum(weight_of.get(name, 1.0) * likeness_of.get(name, 1.0) for name in found & gold)
    return 2 * hits / (weight(found) + weight(gold))


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F-measure with Porter's stemmer, in [0, 1]; 0 if either text has no words.

    Equals `rouge_score.rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)`.
    """
    stems, reference_stems = _stems(text), _stems(reference)
    if not stems or not reference_stems:
        return 0.0
    shared = longest_common_subsequence(stems, reference_stems)
    precision, recall = shared / len(stems), shared / len(reference_stems)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def order_kept(text: str, reference: str) -> float:
    """Below 1 only for a text that is the reference's words in another order: the share of words still in order."""
    letters, reference_words = _letters_and_words(reference)
    if len(text) < letters:
        return 1.0
    lower = text.lower()
    if _count_letters(lower) != letters:
        return 1.0
    words = _WORD.findall(lower)
    if words == reference_words or sorted(words) != sorted(reference_words):
        return 1.0
    return longest_common_subsequence(words, reference_words) / len(reference_words)


@lru_cache(maxsize=256)  # the reference of a group is read once, not once for each response
def _letters_and_words(text: str) -> tuple[int, list[str]]:
    lower = text.lower()
    return _count_letters(lower), _WORD.findall(lower)


def _count_letters(lower: str) -> int:
    """The number of characters that belong to words."""
    return len(lower.encode(errors="replace").translate(None, _BETWEEN_WORDS))


def bleu_1(words: Sequence[str], reference: Sequence[str]) -> float:
    """BLEU of single words against one reference, in [0, 1]. The caller splits both texts into words.

    Equals `nltk.translate.bleu_score.sentence_bleu([reference], words, weights=(1,))`.
    """
    unmatched: dict[str, int] = {}  # word to its occurrences in the reference that have no partner yet
    for word in reference:
        unmatched[word] = unmatched.get(word, 0) + 1
    shared = 0
    for word in words:
        count = unmatched.get(word, 0)
        if count:
            unmatched[word] = count - 1
            shared += 1
    if not shared:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(words)))
    return brevity * math.exp(math.log(shared / len(words)))  # as nltk computes it, to the last bit: callers round


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence.

    Each bit of an integer is a word of the shorter sequence: O(len(b)) operations on numbers of len(a) bits
    (Hyyrö 2004).
    """
    if len(a) > len(b):
        a, b = b, a
    positions: dict[str, int] = {}
    for position, word in enumerate(a):
        positions[word] = positions.get(word, 0) | 1 << position
    full = (1 << len(a)) - 1
    unmatched = full  # a zero bit: the subsequence grows at this word of `a`
    for word in b:
        mask = positions.get(word)
        if mask:
            hit = unmatched & mask
            unmatched = ((unmatched + hit) | (unmatched - hit)) & full
    return len(a) - unmatched.bit_count()


def _stems(text: str) -> list[str]:
    return [stem(word) if len(word) > 3 else word for word in _WORD.findall(text.lower())]
