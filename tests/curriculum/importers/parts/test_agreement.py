import pytest

from curriculum.importers.parts.agreement import agreed_boxes


def box(*edges):
    return ("Mass", *map(float, edges))


def test_the_mean_of_a_majority_is_kept():
    marked = [("R1", box(0, 0, 10, 10)), ("R2", box(2, 0, 12, 10)), ("R3", box(50, 50, 60, 60))]
    assert agreed_boxes(marked, 3) == [box(1, 0, 11, 10)]
    assert agreed_boxes(marked, 4) == []  # two of four are not more than half


def test_a_reader_counts_once_for_a_box():
    twice = [("R1", box(0, 0, 10, 10)), ("R1", box(1, 0, 11, 10))]
    assert agreed_boxes(twice, 3) == []
    both = [*twice, ("R2", box(0, 0, 10, 10)), ("R2", box(1, 0, 11, 10))]
    assert sorted(agreed_boxes(both, 3)) == [box(0, 0, 10, 10), box(1, 0, 11, 10)]


def test_a_consensus_has_one_reader_whose_boxes_are_all_kept():
    marked = [("", box(0, 0, 10, 10)), ("", box(1, 1, 10, 10))]
    assert agreed_boxes(marked, 1) == [found for _, found in marked]


@pytest.mark.parametrize("shift, agree", [(4, True), (5, False)])  # 6/14 = 0.43 and 5/15 = 0.33 of the union
def test_boxes_must_overlap(shift, agree):
    marked = [("R1", box(0, 0, 10, 10)), ("R2", box(shift, 0, 10 + shift, 10))]
    assert bool(agreed_boxes(marked, 2)) is agree
