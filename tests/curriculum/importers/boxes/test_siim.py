import numpy as np
import pytest

from curriculum.importers.boxes.siim import SIDE, import_siim, mask_box
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import draw_film


def runs_of(mask: np.ndarray) -> str:
    """The competition's encoding, pixel by pixel: down the columns, a start counts from the end of the run before."""
    words, end, start = [], 0, None
    pixels = [*mask.T.ravel(), 0]
    for place, pixel in enumerate(pixels):
        if pixel and start is None:
            start = place
        if not pixel and start is not None:
            words += [start - end, place - start]
            end, start = place, None
    return " ".join(map(str, words))


@pytest.mark.parametrize("seed", range(3))
def test_the_box_of_a_mask_holds_exactly_the_mask(seed):
    rng = np.random.default_rng(seed)
    left, top = rng.integers(SIDE - 60, size=2)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + 40, left : left + 50] = rng.random((40, 50)) < 0.3
    rows, columns = np.nonzero(mask)
    assert mask_box("x", runs_of(mask)) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_run_over_the_end_of_a_column_reaches_bottom_and_top():
    assert mask_box("x", f"{SIDE - 2} 4") == (0, 0, 2, SIDE)


def siim(folder, text):
    for name in ("1.2.3", "1.2.4"):
        draw_film(folder / f"films/{name}.png")
    (folder / "train-rle.csv").write_text("ImageId, EncodedPixels\n" + text)  # the blank is the competition's
    return import_siim(folder / "films", folder / "train-rle.csv", folder / "out"), read_tasks(folder / "out")


def test_masks_become_boxes_and_no_mask_means_no_pneumothorax(tmp_path):
    _, tasks = siim(tmp_path, f"1.2.3, {512 * SIDE + 256} 256\n1.2.3, 0 512\n1.2.4, -1\n")
    found = {(task.id[:5], task.family): task for task in tasks}
    assert found["1.2.3", "grounding"].gold == ("[500, 250, 501, 500]", "[0, 0, 1, 500]")
    assert [found[id, "binary"].gold for id in ("1.2.3", "1.2.4")] == [("A",), ("B",)]
    # nobody looked for anything else, so that no film is known to show nothing
    assert {task.family for task in tasks} == {"binary", "report", "grounding"}


@pytest.mark.parametrize(
    "runs, words",
    [
        ("12", "pairs of start and length, or -1, are needed"),
        ("a b", "pairs of start"),
        ("", "pairs of start"),
        ("5 0", "the run 5 0, which is empty"),
        (f"{SIDE * SIDE} 1", "ends outside 1024 × 1024; a start counts from the end of the run before"),
    ],
)
def test_what_is_no_mask_is_named_with_its_row(tmp_path, runs, words):
    with pytest.raises(TaskSetError, match=f"row 0 .*'1.2.3'.*{words}"):
        siim(tmp_path, f"1.2.3, {runs}\n")
