import pytest

from curriculum.importers.parts.mimic_films import films_by_id, frontal_films, patient_of_path, read_mimic_films
from curriculum.taskset import TaskSetError
from tests.support.data_sets import mimic_tables

FILMS = {
    "aa": (10000001, 50000001, "PA", "train"),
    "bb": (10000001, 50000001, "LATERAL", "train"),
    "cc": (10000002, 50000002, "XTABLE", "validate"),
    "dd": (10000002, 50000002, "AP", "validate"),
}


def test_films_have_what_both_tables_say(tmp_path):
    films = films_by_id(mimic_tables(tmp_path, FILMS))
    assert [(film.patient, film.study, film.view, film.split) for film in films.values()] == [
        ("p10000001", "50000001", "PA", "train"),
        ("p10000001", "50000001", "Lateral", "train"),
        ("p10000002", "50000002", "", "val"),
        ("p10000002", "50000002", "AP", "val"),
    ]
    assert films["aa"].size == ("100", "200") and films["aa"].order < films["dd"].order
    assert films_by_id(None) == {}


def test_frontal_films_by_study(tmp_path):
    studies = frontal_films(mimic_tables(tmp_path, FILMS))
    assert {study: [film.id for film in films] for study, films in studies.items()} == {
        "50000001": ["aa"],
        "50000002": ["dd"],
    }


def test_the_patient_of_a_path():
    assert patient_of_path("files/p10/p10000032/s50414267/x.jpg") == "p10000032"
    assert patient_of_path("p10000032/x.jpg") == "p10000032" and patient_of_path("x.jpg") == ""


def test_a_film_without_a_split_is_named(tmp_path):
    tables = mimic_tables(tmp_path, FILMS)
    (tables / "mimic-cxr-2.0.0-split.csv").write_text("dicom_id,split\naa,train\n")
    with pytest.raises(TaskSetError, match="row 1 .*image 'bb': its split in .* is None; it is one of train, validate"):
        list(read_mimic_films(tables))
