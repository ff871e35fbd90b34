import numpy as np
import pytest
from PIL import Image

from actors.model.check_tokens import TokenBudget, check_tokens
from actors.model.encode import Encoder, PromptConfig
from actors.model.families import FAMILIES
from curriculum.images import load_image

BUDGET = 100 * 28**2  # pixels
SIZE = (700, 930)


def film(mode):
    """A soft shape with noise over it."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    noise = np.random.default_rng(0).normal(0, 0.03, (height, width))
    grey = np.clip(0.2 + 0.6 * np.exp(-2 * (x**2 + y**2)) + noise, 0, 1)
    if mode == "I;16":
        return Image.fromarray((grey * 4095).astype(np.uint16))
    image = Image.fromarray((grey * 255).astype(np.uint8))
    return image if mode == "L" else Image.merge("RGB", [image, image.point(lambda v: 255 - v), image]).convert(mode)


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig(min_pixels=28**2, max_pixels=BUDGET))


def save(tmp_path, mode, suffix, orientation=1, **options):
    path = tmp_path / f"film.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    film(mode).save(path, exif=exif, **options)
    return str(path)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_the_processor_makes_the_same_of_a_film_that_was_scaled_before(encoder, tmp_path, mode, orientation):
    path = save(tmp_path, mode, "png", orientation)
    scaled, wanted = encoder.image(path), encoder.read(load_image(path))
    assert scaled.width * scaled.height <= BUDGET and scaled.size != load_image(path).size
    found = encoder.film(path)
    assert found.text == wanted.text
    assert all((found.pixels[name] == value).all() for name, value in wanted.pixels.items())


@pytest.mark.parametrize("orientation", [1, 8])
@pytest.mark.parametrize("mode, options", [("L", {}), ("RGB", {"progressive": True}), ("CMYK", {})])
def test_a_jpeg_that_is_decoded_at_a_reduced_scale_differs_little(encoder, tmp_path, mode, options, orientation):
    path = save(tmp_path, mode, "jpg", orientation, quality=95, **options)
    found, wanted = encoder.film(path), encoder.read(load_image(path))
    assert found.text == wanted.text
    levels = np.abs(found.pixels["pixel_values"] - wanted.pixels["pixel_values"]) * 0.27 * 255
    assert 0 < levels.mean() < 1


def test_data_check_counts_the_tokens_that_films_have(encoder, tmp_path, phantom_tasks):
    """By the size of the whole film, though it is scaled from a smaller one."""
    from curriculum.check import check_tasks
    from curriculum.taskset import write_tasks

    path = save(tmp_path, "RGB", "jpg", 6)
    task = phantom_tasks[0].model_copy(update={"images": (path,)})
    write_tasks([task], tmp_path)
    (row,) = check_tokens(check_tasks(tmp_path), encoder, TokenBudget(10_000, 1, frozenset(), frozenset()))
    assert row.prompt_tokens == len(encoder.expand(task))


@pytest.mark.parametrize("size", [(2, 3), (28, 28), (280, 280), (40, 7990), (3000, 1)])
def test_what_the_processor_scales_up_or_refuses_stays_as_it_is(encoder, size):
    """The last but one would be too narrow for it once it is scaled."""
    assert encoder.scaling.target(size) == size


def test_films_of_other_families_are_read_whole():
    scaled = [name for name, family in FAMILIES.items() if family.scaled_size]
    assert scaled == ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm4v"]
