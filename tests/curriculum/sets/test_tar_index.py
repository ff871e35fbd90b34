"""The files of an archive are those that Python's tarfile finds, and so is what is wrong with it."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.sets.tar_index import files_in

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = ("a.png", "deep/b.png", "a.png", "ü.png", "x" * 99 + ".png", f"{'p' * 60}/{'q' * 80}.png", f"{'r' * 300}.png")
KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CONTTYPE)
MEMBERS = st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS), st.integers(0, 1500), st.sampled_from([0, 7, 7.25]))


def archive(members, format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as opened:
        for name, kind, size, time in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, time
            info.size = size if info.isfile() else 0
            if kind == tarfile.SYMTYPE:
                info.linkname = "a.png"
            try:
                opened.addfile(info, io.BytesIO(b"x" * info.size))
            except ValueError:  # too long a name for this format
                continue
    return file.getvalue()


def outcome(find, path):
    try:
        return find(path)
    except tarfile.TarError as error:
        return repr(error)


def as_tarfile_finds(path):
    with tarfile.open(path, "r:") as opened:
        return {member.name: (member.offset_data, member.size) for member in opened if member.isfile()}


@given(st.lists(MEMBERS, max_size=6), st.sampled_from(FORMATS))
def test_files_are_where_tarfile_finds_them(tmp_path_factory, members, format):
    path = tmp_path_factory.getbasetemp() / "whole.tar"
    path.write_bytes(archive(members, format))
    assert files_in(path) == as_tarfile_finds(path)


@given(st.lists(MEMBERS, min_size=1, max_size=4), st.sampled_from(FORMATS), st.data())
def test_a_damaged_archive_is_one_for_tarfile_too(tmp_path_factory, members, format, data):
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    content = bytearray(archive(members, format))
    place = data.draw(st.integers(0, 512 * (2 * len(members) + 2)))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place % len(content)] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert outcome(files_in, path) == outcome(as_tarfile_finds, path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("time", [7, 7.25])
def test_archives_of_films_need_no_tarfile(tmp_path, monkeypatch, format, time):
    path = tmp_path / "films.tar"
    path.write_bytes(archive([(f"{n}.png", tarfile.REGTYPE, 700, time) for n in range(5)], format))
    wanted = as_tarfile_finds(path)
    monkeypatch.setattr(tarfile, "open", None)
    assert files_in(path) == wanted and len(wanted) == 5
