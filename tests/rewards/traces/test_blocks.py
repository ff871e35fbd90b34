"""Think blocks that hold."""

from random import Random

import pytest

from rewards.comparison.facts import facts_of
from rewards.traces.blocks import CONTRADICTED, OPEN, SILENT, Blocks, NoTrace
from rewards.traces.film import Film
from tests.support.rewards.reported import NORMAL, REPORT


def blocks(report, seed=0, **truth):
    return Blocks(Film(report), truth, Random(seed))


def test_a_block_has_the_reports_own_words_with_side_and_size():
    said = {blocks(REPORT, seed).on("Effusion", True) for seed in range(40)}
    assert len(said) > 4 and all("left" in text and "small" in text.lower() for text in said)
    assert not any("follow" in text for text in said)


def test_no_sentence_comes_twice():
    writer = blocks(REPORT)
    said = [writer.on("Effusion", True) for _ in range(6)]
    assert len(set(said)) == 6 and all(facts_of(text).says("Effusion") for text in said)


def test_a_silent_report_supports_a_denial_and_no_assertion():
    assert facts_of(blocks(REPORT).on("Mass", False)).says("Mass") is False
    with pytest.raises(NoTrace, match=SILENT):
        blocks(REPORT).on("Mass", True)
    assert facts_of(blocks("").on("Mass", True)).says("Mass")  # labels are all that there is


@pytest.mark.parametrize(
    "report, finding, is_present, reason",
    [
        (REPORT, "Effusion", False, CONTRADICTED),
        (REPORT, "Pneumothorax", True, CONTRADICTED),
        ("Possible mass.", "Mass", False, OPEN),
        ("Possible mass.", "Mass", True, OPEN),
    ],
)
def test_what_the_report_does_not_support_is_not_written(report, finding, is_present, reason):
    with pytest.raises(NoTrace, match=reason):
        blocks(report).on(finding, is_present)


def test_a_sentence_that_contradicts_the_gold_is_not_used():
    """The one sentence on the effusion also denies a mass, which the gold says is there."""
    text = blocks("Small effusion, no mass.", Mass=True).on("Effusion", True)
    assert not facts_of(text).absent


def test_no_finding():
    right = blocks(NORMAL).on_normal(True, [])
    assert not facts_of(right).present and right.split(".")[0] in NORMAL.replace("Normal chest.", "Normal chest")
    wrong = blocks(REPORT).on_normal(False, ["Effusion"])
    assert facts_of(wrong).says("Effusion")
    with pytest.raises(NoTrace, match=OPEN):
        blocks(REPORT).on_normal(True, [])
