"""Whether a text belongs to a film."""

from random import Random

import pytest

from rewards.traces.blocks import Blocks, NoTrace
from rewards.traces.film import Film
from rewards.traces.matching import NO_DIFFERENCE, on_text
from tests.support.rewards.reported import NORMAL, REPORT


def thinks(text, report, is_own, seed=0):
    film = Film(report)
    return on_text(film, Film(text), is_own, Blocks(film, {}, Random(seed)))


def test_a_text_of_its_own_is_recognised_by_what_both_say():
    first, second = thinks("No pneumothorax. The lungs are clear.", REPORT, True)
    assert first.startswith(("No pneumothorax.", "The lungs are clear.")) and first != second


def test_a_text_of_another_film_differs_in_a_finding():
    for seed in range(8):
        said = " ".join(thinks("Large right pneumothorax.", REPORT, False, seed))
        assert "pneumothorax" in said.lower() or "effusion" in said.lower() or "heart" in said.lower()


def test_without_a_difference_there_is_no_trace():
    with pytest.raises(NoTrace, match=NO_DIFFERENCE):
        thinks("Normal chest.", NORMAL, False)
