"""The choice among accepted traces."""

from rewards.traces.diverse import pick_diverse

TEXTS = ["No mass is seen.", "No mass is visible.", "The lungs hold nothing solid.", "No mass is seen."]


def test_the_best_comes_first_then_the_least_alike():
    assert pick_diverse(TEXTS, [1.0, 1.4, 1.2, 1.0], 2) == ["No mass is visible.", "The lungs hold nothing solid."]
    assert pick_diverse(TEXTS, [1, 1, 1, 1], 9) == [TEXTS[0], TEXTS[2], TEXTS[1]]  # each once


def test_none_are_picked_of_none():
    assert pick_diverse([], [], 3) == [] and pick_diverse(TEXTS, [1, 1, 1, 1], 0) == []
