"""A start decodes only films that are new or have changed since they were found right."""

import os
import shutil

import pytest

from curriculum.check import check_tasks
from curriculum.images import load_grey_or_rgb
from curriculum.sets import decoding
from curriculum.sets.checked_images import FILE_NAME


@pytest.fixture
def folder(clean_set, tmp_path):
    """A set that nobody has checked yet."""
    return shutil.copytree(clean_set[0], tmp_path / "set", ignore=shutil.ignore_patterns(FILE_NAME))


@pytest.fixture
def decoded(monkeypatch):
    """The names of the films that were decoded, in any order; reading the list empties it."""
    names = []

    def counted(image):
        names.append(os.path.basename(image))
        return load_grey_or_rgb(image)

    monkeypatch.setattr(decoding, "load_grey_or_rgb", counted)

    def taken():
        found = set(names)
        names.clear()
        return found

    return taken


def what_was_found(folder, again):
    return [(row.id, row.sizes, row.new_sizes, row.faults) for row in check_tasks(folder, again)]


def test_a_set_that_was_checked_is_not_decoded_again(folder, decoded, tmp_path):
    first = what_was_found(folder, again=True)
    films = decoded()
    assert len(films) == 12
    assert what_was_found(folder, again=False) == first and decoded() == set()
    assert what_was_found(folder, again=True) == first and decoded() == films
    moved = folder.rename(tmp_path / "elsewhere")
    assert what_was_found(moved, again=False) == first and decoded() == set()


def test_films_that_changed_and_those_at_fault_are_decoded_again(folder, decoded):
    what_was_found(folder, again=False)
    films = sorted(decoded())
    broken = folder / "images" / films[3]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))  # as long as before
    for _ in range(2):
        faults = [fault for *_, faults in what_was_found(folder, again=False) for fault in faults]
        assert faults and all(str(broken) in fault.reason for fault in faults)
        assert decoded() == {films[3]}


def test_what_was_decoded_is_kept_if_the_check_is_given_up(folder, decoded):
    rows = check_tasks(folder)
    next(rows)
    rows.close()
    decoded()
    what_was_found(folder, again=False)
    assert decoded() == set()


@pytest.mark.parametrize("damage", [b"", b"PAR1 and more", None], ids=["empty", "no Parquet", "a folder"])
def test_a_damaged_list_is_not_trusted_and_never_in_the_way(folder, decoded, damage):
    kept = folder / FILE_NAME
    if damage is None:
        kept.mkdir()
    else:
        kept.write_bytes(damage)
    assert not any(faults for *_, faults in what_was_found(folder, again=False))
    assert len(decoded()) == 12
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(FILE_NAME)) == [FILE_NAME]
