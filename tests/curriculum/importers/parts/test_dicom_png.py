import numpy as np
import pytest
from PIL import Image

from curriculum.importers.importer import Skipped
from curriculum.importers.parts.dicom_png import UNREADABLE, NotUsed, check_here, check_share, in_parts, write_film
from curriculum.taskset import TaskSetError
from tests.curriculum.importers.labels.test_dicom import film as draw_dicom


def test_a_film_is_written_with_what_does_not_identify_a_patient(tmp_path):
    draw_dicom(tmp_path / "a.dcm", np.arange(32).reshape(4, 8), PatientAge="006M", ViewPosition="LL")
    film = write_film(str(tmp_path / "a.dcm"), "a", tmp_path / "png", lambda header: f"x{header.Rows}")
    assert (film.name, film.size, film.date) == ("x4", (8, 4), "20200102")
    assert film.strata == {"view": "Lateral", "sex": "F", "age": 0.5}
    with Image.open(tmp_path / "png/x4.png") as image:
        assert image.size == film.size


def test_what_cannot_be_used_has_its_reason(tmp_path):
    (tmp_path / "b.dcm").write_text("no DICOM")
    draw_dicom(tmp_path / "c.dcm", np.arange(16).reshape(4, 4), BurnedInAnnotation="YES")
    broken, burnt = (write_film(str(tmp_path / f"{name}.dcm"), name, tmp_path, lambda header: "x") for name in "bc")
    assert isinstance(broken, NotUsed) and broken.reason == UNREADABLE and "b.dcm: no DICOM file" in broken.example
    assert burnt == ("with text burnt into their pixels (BurnedInAnnotation)", "c")
    assert not (tmp_path / "x.png").exists()
    with pytest.raises(TaskSetError, match="x.png: a process of the cluster wrote this film, and it is not here"):
        check_here(tmp_path / "x.png")


def test_films_are_given_out_in_parts_and_come_back_in_order():
    assert list(in_parts(map, lambda films: [len(films) * 100 + film for film in films], range(18))) == [
        *range(1600, 1616),
        216,
        217,
    ]


@pytest.mark.parametrize("read, unreadable, refused", [(9, 11, True), (10, 10, False), (0, 19, False)])
def test_the_import_is_refused_once_most_films_cannot_be_read(tmp_path, read, unreadable, refused):
    skipped = Skipped()
    skipped[UNREADABLE] = unreadable
    if refused:
        with pytest.raises(TaskSetError, match="of the first 20 films that are there, 11 films whose DICOM file"):
            check_share(tmp_path, read, skipped)
    else:
        check_share(tmp_path, read, skipped)
