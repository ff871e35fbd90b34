import numpy as np
import pytest

from curriculum.importers.importer import Skipped
from curriculum.importers.parts.film_files import find_films
from curriculum.taskset import TaskSetError
from tests.curriculum.importers.labels.test_dicom import film as draw_dicom
from tests.support.data_sets import draw_film


def find(tmp_path, *names):
    skipped = Skipped()
    where = {name: f"row of {name}" for name in names}
    return find_films(tmp_path / "in", where, tmp_path / "labels.csv", tmp_path / "out", skipped), skipped


def test_png_and_dicom_films_are_found_by_name_at_any_depth(tmp_path):
    draw_film(tmp_path / "in/x/a.png")
    draw_dicom(tmp_path / "in/y/z/b.dicom", np.arange(32).reshape(4, 8))
    (tmp_path / "in/c.jpg").write_text("no image")
    films, skipped = find(tmp_path, "a", "b", "c", "d")
    assert films["a"] == (str(tmp_path / "in/x/a.png"), (4, 4), {}, False)
    assert films["b"][:2] == (str(tmp_path / "out/images/b.png"), (8, 4)) and films["b"].dicom
    assert films["b"].strata["view"] == "PA" and (tmp_path / "out/images/b.png").is_file()
    assert skipped == {"whose image cannot be read": 1, "whose file is not below the image folder": 1}


def test_no_film_at_all_is_told_in_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(TaskSetError, match="none of the 2 films of .*; the first would be a.dcm or a.png") as caught:
        find(tmp_path, "a", "b")
    assert "\n" not in str(caught.value)


def test_two_films_of_one_name_are_refused(tmp_path):
    for folder in "xy":
        draw_film(tmp_path / f"in/{folder}/a.png")
    with pytest.raises(TaskSetError, match="row of a: two images have this name"):
        find(tmp_path, "a")
