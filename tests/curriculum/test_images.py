import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from curriculum.images import ImageError, check_image, load_image, read_image

REAL = Path(__file__).parents[3] / "shared/data/fault_cases/image-exif"
CORNERS = np.array([[0, 255, 255], [255, 128, 255]], np.uint8)  # differs from all its turned and mirrored forms
AS_STORED = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.T,
    6: CORNERS.T[::-1],
    7: CORNERS[::-1, ::-1].T,
    8: CORNERS.T[:, ::-1],
}
"""EXIF orientation to the rows and columns that are stored of an upright `CORNERS` (EXIF 2.3, tag 274)."""
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


def stored(orientation: object, format: str, depth: type = np.uint8) -> bytes:
    """A file whose pixels lie as the orientation says; as large as 16 × 16 pixels for each of `CORNERS`."""
    scale = 257 if depth is np.uint16 else 1
    pixels = np.kron(AS_STORED.get(orientation, CORNERS).astype(depth) * scale, np.ones((16, 16), depth))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, exif=exif)
    return file.getvalue()


def centres(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[8::16, 8::16, 0].astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "format, depth",
    [("JPEG", np.uint8), ("PNG", np.uint8), ("PNG", np.uint16), ("TIFF", np.uint16), ("WEBP", np.uint8)],
)
def test_a_film_is_put_upright(tmp_path, orientation, format, depth):
    (tmp_path / "film").write_bytes(stored(orientation, format, depth))
    upright = load_image(tmp_path / "film")
    assert upright.size == (48, 32) == check_image(tmp_path / "film")
    assert np.abs(centres(upright) - CORNERS).max() < 12  # JPEG and WEBP lose a little
    assert read_image(io.BytesIO(stored(orientation, format, depth)), "bytes").tobytes() == upright.tobytes()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_turns_nothing(orientation):
    assert np.abs(centres(read_image(io.BytesIO(stored(orientation, "JPEG")), "x")) - CORNERS).max() < 12


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says what is damaged
def test_damaged_exif_data_are_no_fault():
    whole = stored(6, "JPEG")
    start = whole.index(b"Exif\0\0") + 6
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(start, start + 26, 4):
            damaged[place] = rng.integers(256)
        assert read_image(io.BytesIO(bytes(damaged)), "x").size in ((48, 32), (32, 48))


class Third:
    """A reader that wants a third of every image; `decoded` is what it was given to scale."""

    def target(self, size):
        return size[0] // 3, size[1] // 3

    def scaled(self, image, size):
        self.decoded = image.size, image.mode
        return image.resize(size)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(
    "format, depth, decoded",
    [
        ("JPEG", np.uint8, {1: (24, 16), 3: (24, 16), 6: (24, 16)}),  # at a half, the least that is enough
        ("PNG", np.uint8, {1: (48, 32), 3: (48, 32), 6: (48, 32)}),
        ("PNG", np.uint16, {1: (48, 32), 3: (48, 32), 6: (48, 32)}),
        ("TIFF", np.uint16, {1: (48, 32), 3: (48, 32), 6: (48, 32)}),
    ],
)
def test_a_film_is_scaled_down_upright_and_grey(orientation, format, depth, decoded):
    reader = Third()
    image = read_image(io.BytesIO(stored(orientation, format, depth)), "x", scaling=reader)
    assert reader.decoded == (decoded[orientation], "L")
    assert image.size == (16, 10) and image.mode == "RGB"
    assert np.abs(np.asarray(image)[2::5, 2::5, 0][:2, :3] - CORNERS).max() < 40


def test_a_jpeg_that_breaks_off_is_refused_at_a_reduced_scale_too(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (640, 640), np.uint8)).save(whole, "jpeg")
    (tmp_path / "cut").write_bytes(whole.getvalue()[: whole.tell() * 9 // 10])
    with pytest.raises(ImageError, match="cut: the image cannot be read to its end"):
        load_image(tmp_path / "cut", Third())


@pytest.mark.parametrize("photometric, first, last", [("MONOCHROME2", 0, 255), ("MONOCHROME1", 255, 0)])
def test_a_dicom_film_is_read_from_its_file(tmp_path, photometric, first, last):
    """As the importer would make a PNG file of it."""
    with pydicom.dcmread(get_testdata_file("MR_small.dcm")) as header:
        header.PhotometricInterpretation = photometric
        del header.WindowCenter, header.WindowWidth
        values = np.linspace(0, 4000, header.Rows * header.Columns).astype(np.int16)
        header.PixelData = values.tobytes()
        header.save_as(tmp_path / "film.dcm")
    image = load_image(tmp_path / "film.dcm")
    found = np.asarray(image).reshape(-1, 3)
    assert image.mode == "RGB" and image.size == (header.Columns, header.Rows) == check_image(tmp_path / "film.dcm")
    assert (found[0] == first).all() and (found[-1] == last).all()
    assert np.abs(found[:, 0] - np.linspace(first, last, len(values))).max() <= 1
    assert load_image(tmp_path / "film.dcm", Third()).size == (header.Columns // 3, header.Rows // 3)


def test_a_dicom_file_without_a_film_is_refused(tmp_path):
    whole = Path(get_testdata_file("MR_small.dcm")).read_bytes()
    (tmp_path / "film.dcm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"film\.dcm: ") as caught:
        check_image(tmp_path / "film.dcm")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared fault cases are not here")
@pytest.mark.parametrize("name", ["exif3.jpg", "exif6.jpg", "exif6.png", "exif8.jpg"])
def test_films_of_the_fault_cases_are_put_upright(name):
    with Image.open(REAL / name) as file:
        width, height = file.size
        expected = np.rot90(np.asarray(file.convert("RGB")), {"3": 2, "6": -1, "8": 1}[name[4]])
    image = load_image(REAL / name)
    assert image.size == ((width, height) if name[4] == "3" else (height, width))
    assert (np.asarray(image) == expected).all()
