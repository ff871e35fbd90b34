"""BLEU-1, ROUGE-L and the stemmer against the public packages (nltk, rouge-score)."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewards.findings.overlap import bleu_1, longest_common_subsequence, rouge_l
from rewards.findings.stem import stem

words_of_reports = st.sampled_from(
    """
    the heart is mildly enlarged no effusions pleural effusion atelectasis bibasilar consolidations hopping
    relational traditionally generally Fully skies tied 1.5 cm increased opacities, opacity; may represent —
    stable nationally theological agreed feeding sized conditional vietnamization troubled falling ponies toy
    flying
""".split()
)
texts = st.lists(words_of_reports, max_size=40).map(" ".join) | st.text(max_size=60)
endings = st.sampled_from(
    """
    s es ies ied eed ed ing y ational tional enci anci izer bli abli alli entli eli ousli ization ation ator
    alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance
    ence er ic able ible ant ement ment ent ion tion sion ou ism ate iti ous ive ize e ll sses ss ally fully
""".split()
)
letters = st.text(string.ascii_lowercase, max_size=7) | st.text("aeiouyltsz", max_size=5)


@given(st.builds(lambda *parts: "".join(parts), letters, endings | st.just(""), endings | st.just("")))
@example("skies")
@example("yyyys")
@example("7lls")
def test_the_stemmer_is_nltks(word):
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    assert stem(word) == porter.stem(word)


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
