import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.film_look import LOOK_BYTES, MAX_BITS, alike, film_look, same_film


@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 30))
def test_all_pairs_that_are_alike_are_found(seed, first_count, second_count):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (4, LOOK_BYTES), np.uint8)

    def looks(count):
        noise = np.packbits(rng.random((count, LOOK_BYTES * 8)) < rng.choice([0.01, 0.05, 0.08], (count, 1)), axis=1)
        return base[rng.integers(0, 4, count)] ^ noise

    first, second = looks(first_count), looks(second_count)
    differ = np.unpackbits(first[:, None] ^ second[None], axis=2).sum(2)
    assert list(alike(first, second)) == sorted((int(a), int(b)) for a, b in np.argwhere(differ <= MAX_BITS))


def test_another_encoding_is_the_same_film_and_another_film_is_not(tmp_path):
    tasks = draw_phantom_set(PhantomConfig(train=12, val=1, test=1), tmp_path)
    films = [Image.open(path) for path in dict.fromkeys(image for task in tasks for image in task.images)]
    for number, film in enumerate(films):
        file = io.BytesIO()
        film.convert("L").save(file, "JPEG", quality=80)
        again = Image.open(file)
        look, other = (np.frombuffer(film_look(image), np.uint8) for image in (film, again))
        assert int(np.unpackbits(look ^ other).sum()) <= MAX_BITS and same_film(film, again)
        assert not same_film(film, films[number - 1])
