"""BLEU-1 and ROUGE-L against the public packages (nltk, rouge-score)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.comparison.overlap import bleu_1, f1, longest_common_subsequence, order_kept, rouge_l
from tests.support.rewards.responses import plain_f1

WORDS = """
    the heart is mildly enlarged no effusions pleural effusion atelectasis bibasilar consolidations hopping
    relational traditionally generally Fully skies tied 1.5 cm increased opacities, opacity; may represent —
    stable nationally theological agreed feeding sized conditional vietnamization troubled falling ponies toy
    flying
"""
words_of_reports = st.sampled_from(WORDS.split())
texts = st.lists(words_of_reports, max_size=40).map(" ".join) | st.text(max_size=60)


@given(texts, texts)
def test_rouge_l_is_that_of_rouge_score(text, reference):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    assert rouge_l(text, reference) == pytest.approx(scorer.score(reference, text)["rougeL"].fmeasure, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*0 counts of 1-gram")
@given(texts, texts)
def test_bleu_1_is_that_of_nltk(text, reference):
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    ours, theirs = text.split(), reference.split()
    assert bleu_1(ours, theirs) == pytest.approx(bleu.sentence_bleu([theirs], ours, weights=(1,)), abs=1e-6)


def plain_lcs(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        above = row[:]
        for j, y in enumerate(b):
            row[j + 1] = above[j] + 1 if x == y else max(above[j + 1], row[j])
    return row[-1]


@given(st.lists(st.sampled_from("abc"), max_size=90), st.lists(st.sampled_from("abcd"), max_size=90))
def test_longest_common_subsequence(a, b):
    assert longest_common_subsequence(a, b) == plain_lcs(a, b) == longest_common_subsequence(b, a)


def test_a_text_against_itself_and_against_nothing():
    assert rouge_l("Small effusions.", "small effusion") == 1 and bleu_1(["a"], ["a"]) == 1
    assert (
        rouge_l("", "a")
        == rouge_l("a", "")
        == rouge_l("?", "!")
        == bleu_1([], ["a"])
        == bleu_1(["a"], [])
        == bleu_1([], [])
        == 0
    )


@given(st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
def test_f1(found, gold):
    assert f1(found, gold) == pytest.approx(plain_f1(found, gold)) == f1(gold, found)


def test_f1_with_weights():
    weights = {"Hernia": 4.0}
    assert f1({"Hernia"}, {"Hernia", "Mass"}, weights) == pytest.approx(2 * 4 / (4 + 5))
    assert f1({"Mass"}, {"Hernia", "Mass"}, weights) == pytest.approx(2 * 1 / (1 + 5))


@pytest.mark.parametrize(
    "text, share",
    [
        ("the heart is big", 1),
        ("The heart -- is BIG!", 1),
        ("big is the heart", 2 / 4),
        ("heart the is big", 3 / 4),
        ("the heart is large", 1),  # other words are not the same in another order
        ("the heart is big big", 1),
        ("", 1),
    ],
)
def test_order_kept(text, share):
    assert order_kept(text, "The heart is big.") == pytest.approx(share)
