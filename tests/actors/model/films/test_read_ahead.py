import threading

import numpy as np
import pytest

from actors.model.encode import Encoder, PromptConfig
from actors.model.films.read_ahead import EncodedImage, Films
from curriculum.images import ImageError

FILM = 1000  # bytes of each


class Reader:
    """Reads films that are numbers, and remembers which; those in `bad` cannot be read."""

    def __init__(self):
        self.read, self.bad, self.lock = [], set(), threading.Lock()

    def __call__(self, path):
        with self.lock:
            self.read.append(path)
        if path in self.bad:
            raise ImageError(f"{path}: not an image that can be read")
        return EncodedImage({"pixel_values": np.full(FILM, int(path), np.uint8)}, text=f"text {int(path) % 3}")

    def settled(self, films):
        """What was read once nothing is being read any more."""
        while films._busy:
            threading.Event().wait(0.01)
        return sorted(map(int, self.read))


@pytest.fixture
def reader():
    return Reader()


def number(film):
    return int(film.pixels["pixel_values"][0])


def test_films_are_read_ahead_once_and_in_order(reader):
    films = Films(reader, threads=2)
    films.expect(str(n) for n in (3, 1, 4, 1, 5))
    assert reader.settled(films) == [1, 3, 4, 5] and set(reader.read[:2]) <= {"3", "1"}
    waited = films.waited_s
    assert [number(films.get(str(n))) for n in (3, 1, 4, 1, 5)] == [3, 1, 4, 1, 5]
    assert len(reader.read) == 4 and films.waited_s == waited  # nothing was waited for


def test_no_more_is_read_ahead_than_there_is_room_for(reader):
    films = Films(reader, threads=2, limit=5 * FILM)
    films.get("99")  # how large they are is known by the first
    films.expect(str(n) for n in range(20))
    assert len(reader.settled(films)) <= 6
    for n in range(20):
        assert number(films.get(str(n))) == n
        assert films._bytes <= 6 * FILM
    assert reader.settled(films) == [*range(20), 99]  # none was dropped before its use


def test_what_was_used_longest_ago_is_dropped_and_its_text_kept(reader):
    films = Films(reader, limit=3 * FILM)
    for n in (0, 1, 2, 0, 3):
        films.get(str(n))
    assert films.text("1") == "text 1" and len(reader.read) == 4
    films.get("0")
    assert len(reader.read) == 4
    films.get("1")
    assert len(reader.read) == 5


def test_a_film_that_cannot_be_read_ahead_is_an_error_where_it_is_needed(reader):
    reader.bad = {"1"}
    films = Films(reader, threads=1)
    films.expect(["0", "1", "2"])
    assert reader.settled(films) == [0, 1, 2]  # the others are read all the same
    assert number(films.get("0")) == 0 and number(films.get("2")) == 2
    with pytest.raises(ImageError, match="1: not an image that can be read"):
        films.get("1")
    reader.bad = set()
    assert number(films.get("1")) == 1


def test_what_is_not_expected_any_more_makes_room(reader):
    films = Films(reader, threads=1, limit=4 * FILM)
    films.get("99")
    films.expect(["0", "1", "2", "3", "4", "5"])
    reader.settled(films)
    films.expect(["6", "7", "8"])
    assert reader.settled(films)[-4:] == [6, 7, 8, 99] and films._bytes <= 5 * FILM
    assert [number(films.get(str(n))) for n in (6, 7, 8)] == [6, 7, 8] and reader.read.count("6") == 1


def test_threads_read_what_one_reads_while_tokens_are_counted(tiny_model, phantom_tasks):
    """The tokenizer and the processor are used at the same time."""
    paths = list(dict.fromkeys(image for task in phantom_tasks for image in task.images))
    alone, ahead = Encoder(tiny_model, PromptConfig()), Encoder(tiny_model, PromptConfig(), film_threads=3)
    for _ in range(3):
        ahead.films.expect(paths)
        for task in phantom_tasks:
            assert (ahead.expand(task) == alone.expand(task)).all()
        for path in paths:
            wanted, found = alone.film(path), ahead.film(path)
            assert found.text == wanted.text
            assert all((found.pixels[name] == value).all() for name, value in wanted.pixels.items())
        ahead.films._kept.clear()
