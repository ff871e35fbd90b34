import pytest

from curriculum.boxes import iou, mean_iou, read_box, read_boxes, write_box

A = (0, 0, 100, 100)
HALF_OVER_A = (50, 0, 150, 100)  # shares 5,000 of 15,000 with A
FAR = (500, 500, 600, 600)


def test_pixels_become_thousandths_and_are_cut_at_the_edges():
    assert write_box(102.4, 204.8, 614.4, 460.8, 1024, 1024) == "[100, 200, 600, 450]"
    assert write_box(-20, 10, 300, 50, 200, 100) == "[0, 100, 1000, 500]"
    for left, right in ((250, 300), (40, 40), (60, 20)):  # outside, empty, the wrong way round
        with pytest.raises(ValueError, match="is not a box"):
            write_box(left, 10, right, 50, 200, 100)


def test_a_text_that_is_a_box_is_read_back():
    assert read_box(write_box(1, 2, 30, 40, 100, 100)) == (10, 20, 300, 400)
    assert read_box(" [ 1,2 , 3,4 ] ") == (1, 2, 3, 4)
    for text in ("", "[1, 2, 3]", "[3, 2, 1, 4]", "[1, 2, 3, 1001]", "at [1, 2, 3, 4]", "[1, 2, 3, 4] [1, 2, 3, 4]"):
        with pytest.raises(ValueError, match=r"is not a box; a box is \[left, top, right, bottom\]"):
            read_box(text)


def test_the_boxes_in_a_text():
    text = "The mass is at [1, 2, 30, 40], the nodule at [5,6,7,8]; [9, 9, 9, 12] and [0, 0, 2000, 10] are not boxes."
    assert read_boxes(text) == [(1, 2, 30, 40), (5, 6, 7, 8)]
    assert read_boxes("no box") == []


def test_intersection_over_union():
    assert iou(A, A) == 1 and iou(A, FAR) == 0
    assert iou(A, HALF_OVER_A) == iou(HALF_OVER_A, A) == pytest.approx(1 / 3)
    assert iou(A, (25, 25, 75, 75)) == 0.25


def test_mean_iou_pairs_each_box_once():
    assert mean_iou([], []) == 1 and mean_iou([A], []) == mean_iou([], [A]) == 0
    assert mean_iou([FAR, A], [A, FAR]) == 1
    assert mean_iou([A, A], [A]) == 0.5  # one too many
    assert mean_iou([A], [A, FAR]) == 0.5  # one too few
    # The closest pair comes first, so the second box gets what is left.
    assert mean_iou([HALF_OVER_A, A], [A, FAR]) == 0.5
