import io

import numpy as np
import pytest
from PIL import Image

from curriculum.images import ImageError, check_image, load_image

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    "name, pixels",
    [
        ("deep.png", (RAMP * 3000 + 500).astype(np.uint16)),  # mode I;16
        ("deep.tif", (RAMP * 90000 - 20000).astype(np.int32)),  # mode I
        ("deep2.tif", (RAMP * 0.01).astype(np.float32)),  # mode F
    ],
)
def test_deep_grey_films_use_the_whole_range(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.mode == "RGB" and image.size == (64, 64)
    assert np.abs(np.asarray(image)[..., 0] - RAMP * 255).max() < 1


def test_flat_and_non_finite_films(tmp_path):
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "flat.png")
    assert not np.asarray(load_image(tmp_path / "flat.png")).any()
    Image.fromarray(np.array([[np.nan, 1, 3], [np.inf, 2, 3]], np.float32)).save(tmp_path / "nan.tif")
    assert np.asarray(load_image(tmp_path / "nan.tif"))[..., 0].tolist() == [[0, 0, 255], [0, 128, 255]]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    Image.new(mode, (3, 2), 1).save(tmp_path / "x.png")
    assert load_image(str(tmp_path / "x.png")).mode == "RGB"


@pytest.mark.parametrize("suffix", ["png", "jpeg"])
def test_truncated_images_are_refused(tmp_path, suffix):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(whole, suffix)
    for length in (20, whole.tell() // 2, whole.tell() * 9 // 10):
        (tmp_path / "cut").write_bytes(whole.getvalue()[:length])
        with pytest.raises(ImageError, match="cut: ") as caught:
            check_image(tmp_path / "cut")
        assert "\n" not in str(caught.value)


def test_what_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("<html>log in first</html>")
    for name, words in [("text.png", "not an image"), ("gone.png", "no such image"), ("", "no such image")]:
        with pytest.raises(ImageError, match=words):
            check_image(tmp_path / name)
