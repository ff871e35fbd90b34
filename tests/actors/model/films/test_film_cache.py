import multiprocessing
import os
import signal

import numpy as np
import pytest
from PIL import Image

from actors.model.films.film_cache import FilmCache
from curriculum.images import ImageError

SPAWN = multiprocessing.get_context("spawn")
SIDE = 100
FILM_BYTES = SIDE * SIDE + 128  # grey, as a file


def grey(value):
    return Image.new("L", (SIDE, SIDE), value).convert("RGB")


def files(folder, pattern="*.npy"):
    return sorted(path.name for path in folder.glob(pattern))


@pytest.fixture
def cache(tmp_path):
    made = FilmCache(tmp_path, 2**30)
    yield made
    made.close()


def test_a_film_is_made_once_and_comes_back_as_it_was(cache):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    films = {"grey": grey(7), "colour": Image.fromarray(noise)}
    made = []

    def make(key):
        made.append(key)
        return films[key]

    for _ in range(2):
        for key, film in films.items():
            found = cache.get(key, lambda key=key: make(key))
            assert found.mode == "RGB" and found.tobytes() == film.tobytes()
    assert made == ["grey", "colour"]


def test_what_cannot_be_made_is_an_error_each_time_and_leaves_nothing(cache):
    def fail():
        raise ImageError("film.png: not an image that can be read")

    for _ in range(2):
        with pytest.raises(ImageError, match=r"film\.png"):
            cache.get("key", fail)
    assert cache.get("key", lambda: grey(1)).getpixel((0, 0)) == (1, 1, 1)


def test_the_films_used_longest_ago_go_first(tmp_path):
    cache = FilmCache(tmp_path, 10 * FILM_BYTES)
    for number in range(40):
        cache.get(f"film {number}", lambda number=number: grey(number))
        cache.get("often used", lambda: grey(255))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.npy")) <= 11 * FILM_BYTES
    kept = [number for number in (39, 0) if cache.get(f"film {number}", lambda: grey(99)) != grey(99)]
    assert kept == [39] and cache.get("often used", lambda: grey(0)) == grey(255)
    cache.close()


def make_all(folder, log, ready):
    cache = FilmCache(folder, 2**30)
    ready.wait()

    def make(number):
        with open(log, "a") as file:
            file.write(f"{number}\n")
        return grey(number)

    for number in range(30):
        assert cache.get(f"film {number}", lambda number=number: make(number)) == grey(number)
    cache.close()


def test_two_processes_make_each_film_once(tmp_path, cache):
    ready = SPAWN.Barrier(2)
    both = [SPAWN.Process(target=make_all, args=(tmp_path, tmp_path / "log", ready)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(30))


def die_while_writing(folder):
    os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
    FilmCache(folder, 2**30).get("film", lambda: grey(1))


def test_a_writer_that_is_killed_leaves_nothing_that_is_read_or_stays(tmp_path):
    writer = SPAWN.Process(target=die_while_writing, args=(tmp_path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL and files(tmp_path, "partial-*") and not files(tmp_path)
    cache = FilmCache(tmp_path, 2**30)  # the next one to come finds nobody
    assert not files(tmp_path, "partial-*")
    assert cache.get("film", lambda: grey(2)) == grey(2)
    cache.close()


def test_the_last_to_leave_removes_all(tmp_path):
    first, second = FilmCache(tmp_path, 2**30), FilmCache(tmp_path, 2**30)
    second.get("film", lambda: grey(1))
    first.close()
    assert second.get("film", lambda: grey(2)) == grey(1)
    assert first.get("film", lambda: grey(3)) == grey(3)  # it does without from now on
    second.close()
    assert os.listdir(tmp_path) == ["users"]


def test_without_a_folder_to_write_to_films_are_made_each_time(tmp_path):
    (tmp_path / "a file").write_text("")
    cache = FilmCache(tmp_path / "a file", 2**30)
    assert cache.get("film", lambda: grey(1)) == grey(1) and cache.get("film", lambda: grey(2)) == grey(2)
    cache.close()


def test_a_link_in_the_folders_place_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.npy").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    cache = FilmCache(tmp_path / "link", 2**30)
    cache.get("film", lambda: grey(1))
    cache.close()
    assert os.listdir(tmp_path / "mine") == ["kept.npy"]


def test_a_damaged_file_is_made_again(cache, tmp_path):
    cache.get("film", lambda: grey(1))
    (name,) = files(tmp_path)
    for damage in (b"", b"\x93NUMPY and more", (tmp_path / name).read_bytes()[:-1]):
        (tmp_path / name).write_bytes(damage)
        assert cache.get("film", lambda: grey(2)) == grey(2)
