"""One DICOM film: what is read of headers that break the standard in the ways that real ones do."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from curriculum.importers.parts.dicom_film import FilmError, film_pixels, read_film, read_uid, reason_to_skip

REAL = Path(__file__).parents[5] / "shared/data/fault_cases"
RAMP = np.arange(4096).reshape(64, 64)
STRETCHED = RAMP * 255 / 4095


def header(values: np.ndarray = RAMP, bits: int = 12, **tags) -> Dataset:
    """A film of 16 bits allocated, `bits` of them used."""
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    film.PhotometricInterpretation, film.SamplesPerPixel = "MONOCHROME2", 1
    film.Rows, film.Columns = values.shape
    film.PixelRepresentation = int(values.min() < 0)
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, bits, bits - 1
    film.PixelData = values.astype(np.int16 if film.PixelRepresentation else np.uint16).tobytes()
    film["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(film, name, value)
    return film


def written(film: Dataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, film, enforce_file_format=True)
    return file.getvalue()


def shown(tmp_path: Path, content: Dataset | bytes) -> np.ndarray:
    path = tmp_path / "film.dcm"
    path.write_bytes(content if isinstance(content, bytes) else written(content))
    film = read_film(path)
    assert reason_to_skip(film) is None
    return film_pixels(film).astype(int)


def lut(entries: list[int], first: int, bits: int, vr: str = "US") -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", entries)
    return [item]


@pytest.mark.parametrize("width", [0, -5, ""])
@pytest.mark.parametrize("center", [2000, 0])
def test_a_window_without_width_is_none(tmp_path, width, center):
    assert np.abs(shown(tmp_path, header(WindowCenter=center, WindowWidth=width)) - STRETCHED).max() <= 1


def test_a_window_that_shows_nothing_is_none(tmp_path):
    assert np.abs(shown(tmp_path, header(WindowCenter=40000, WindowWidth=10)) - STRETCHED).max() <= 1


def test_window_functions(tmp_path):
    sigmoid = shown(tmp_path, header(WindowCenter=2000, WindowWidth=500, VOILUTFunction="SIGMOID"))
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (RAMP - 2000) / 500))).max() <= 1
    exact = shown(tmp_path, header(WindowCenter=2000, WindowWidth=500, VOILUTFunction="LINEAR_EXACT"))
    assert np.abs(exact - np.clip((RAMP - 1750) / 500, 0, 1) * 255).max() <= 1
    step = shown(tmp_path, header(WindowCenter=2000, WindowWidth=1))
    assert (step == np.where(RAMP > 1999.5, 255, 0)).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "padding, tags",
    [
        (65535, {"PixelPaddingValue": 65535}),
        (0, {"PixelPaddingValue": 0}),
        (5000, {"PixelPaddingValue": 6000, "PixelPaddingRangeLimit": 4990}),
        (5000, {"PixelPaddingValue": 4990, "PixelPaddingRangeLimit": 6000}),
        (65535, {"PixelPaddingValue": 65535, "WindowCenter": 2248, "WindowWidth": 4096}),
    ],
)
def test_padding_is_black_and_not_part_of_the_range(tmp_path, photometric, padding, tags):
    values = RAMP + 200  # 200 … 4295
    values[:, :5] = padding
    found = shown(tmp_path, header(values, 16, PhotometricInterpretation=photometric, **tags))
    film = values[:, 5:]
    expected = (film - film.min()) / (film.max() - film.min()) * 255
    assert not found[:, :5].any()
    assert np.abs(found[:, 5:] - (255 - expected if photometric == "MONOCHROME1" else expected)).max() <= 1


@pytest.mark.parametrize("vr, value", [("SS", -2000), ("US", 63536)])
def test_signed_padding(tmp_path, vr, value):
    values = RAMP - 1000
    values[:5] = -2000
    film = header(values, 16)
    film.add_new("PixelPaddingValue", vr, value)
    found = shown(tmp_path, film)
    assert not found[:5].any()
    assert np.abs(found[5:] - (RAMP[5:] - 320) / (4095 - 320) * 255).max() <= 1


def test_padding_in_bits_beyond_those_stored(tmp_path):
    values = RAMP.copy()
    values[:5] = 0xF830
    found = shown(tmp_path, header(values, PixelPaddingValue=0xF830))
    assert not found[:5].any()
    assert np.abs(found[5:] - (RAMP[5:] - 320) / (4095 - 320) * 255).max() <= 1


def test_padding_that_no_pixel_has_or_all_have(tmp_path):
    assert np.abs(shown(tmp_path, header(PixelPaddingValue=65535)) - STRETCHED).max() <= 1
    assert not shown(tmp_path, header(np.full((4, 4), 7), PixelPaddingValue=7)).any()


@pytest.mark.parametrize("held", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("declared", [8, 12, 16])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_luts_of_other_depths_than_declared(tmp_path, held, declared, sequence):
    table = (np.linspace(0, 1, 4096) ** 2 * (2**held - 1)).round().astype(int)
    found = shown(tmp_path, header(**{sequence: lut(table.tolist(), 0, declared)}))
    assert np.abs(found - table.reshape(64, 64) * 255 / (2**held - 1)).max() <= 1


def test_entries_of_8_bits_two_to_a_word(tmp_path):
    table = (np.linspace(0, 1, 4096) ** 2 * 255).round().astype(np.uint8)
    item = lut(table.view("<u2").tolist(), 0, 8)
    item[0].LUTDescriptor = [4096, 0, 8]
    assert np.abs(shown(tmp_path, header(VOILUTSequence=item)) - table.reshape(64, 64)).max() <= 1


@pytest.mark.parametrize("vr, first", [("SS", -1000), ("US", 64536)])
def test_a_lut_that_begins_below_zero(tmp_path, vr, first):
    table = np.linspace(0, 4095, 4096).round().astype(int)[::-1]
    found = shown(tmp_path, header(RAMP - 1000, 16, VOILUTSequence=lut(table.tolist(), first, 12, vr)))
    assert np.abs(found - (255 - STRETCHED)).max() <= 1


def test_a_lut_of_65536_entries_and_one_without(tmp_path):
    table = np.arange(65536)
    wide = RAMP * 16
    found = shown(tmp_path, header(wide, 16, VOILUTSequence=lut(table.tolist(), 0, 16)))
    assert np.abs(found - wide * 255 / 65535).max() <= 1
    empty = Dataset()
    assert np.abs(shown(tmp_path, header(VOILUTSequence=[empty])) - STRETCHED).max() <= 1


def test_rescales(tmp_path):
    assert np.abs(shown(tmp_path, header(RescaleSlope=-1, RescaleIntercept=4095)) - (255 - STRETCHED)).max() <= 1
    assert np.abs(shown(tmp_path, header(RescaleSlope=0, RescaleIntercept=7)) - STRETCHED).max() <= 1
    only_intercept = header(RescaleIntercept=-1000, WindowCenter=1048, WindowWidth=4096)
    assert np.abs(shown(tmp_path, only_intercept) - STRETCHED).max() <= 1


def test_headers_of_public_bug_reports(tmp_path):
    """Wording and numbers of our own; what is wrong is as in the reports."""
    window = dict(WindowCenter=2048, WindowWidth=4096)
    no_rescale = header(RescaleIntercept=None, RescaleSlope=None, **window)  # pydicom#1237, first case
    assert np.abs(shown(tmp_path, no_rescale) - STRETCHED).max() <= 1
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", None)
    item.add_new("LUTData", "OW", None)
    no_entries = header(VOILUTSequence=[item], RescaleIntercept=0, RescaleSlope=1, **window)  # its second case
    assert np.abs(shown(tmp_path, no_entries) - STRETCHED).max() <= 1
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    item.add_new("LUTData", "OW", np.arange(4096)[::-1].astype("<u2").tobytes())  # pydicom#1073: words as bytes
    assert np.abs(shown(tmp_path, header(VOILUTSequence=[item])) - (255 - STRETCHED)).max() <= 1
    floats = header(VOILUTSequence=[item], RescaleIntercept="0.0", RescaleSlope="1.0")  # pydicom#1183, #1235
    assert np.abs(shown(tmp_path, floats) - (255 - STRETCHED)).max() <= 1
    assert np.abs(shown(tmp_path, header(VOILUTSequence=[], **window)) - STRETCHED).max() <= 1  # pydicom#1554


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_preamble_or_transfer_syntax(tmp_path, syntax):
    film = header()
    film.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        film.PixelData = RAMP.astype(">u2").tobytes()
    whole = written(film)
    assert np.abs(shown(tmp_path, whole) - STRETCHED).max() <= 1
    bare = io.BytesIO()
    pydicom.dcmwrite(
        bare,
        film,
        enforce_file_format=False,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    without_meta = bare.getvalue()[bare.getvalue().index(_first_element(syntax)) :]
    assert np.abs(shown(tmp_path, without_meta) - STRETCHED).max() <= 1
    assert read_uid(tmp_path / "film.dcm") == "1.2.3"


def _first_element(syntax: pydicom.uid.UID) -> bytes:
    """How SOPClassUID (0008,0016) begins."""
    tag = b"\x08\0\x16\0" if syntax.is_little_endian else b"\0\x08\0\x16"
    return tag if syntax.is_implicit_VR else tag + b"UI"


def test_elements_that_the_others_imply(tmp_path):
    film = header()
    del film.SamplesPerPixel, film.PixelRepresentation
    assert np.abs(shown(tmp_path, film) - STRETCHED).max() <= 1


def test_compressed_pixels(tmp_path):
    film = header()
    film.compress(RLELossless)
    assert np.abs(shown(tmp_path, film) - STRETCHED).max() <= 1


@pytest.mark.parametrize(
    "tags, reason",
    [
        ({"BurnedInAnnotation": "yes "}, "with text burnt into their pixels (BurnedInAnnotation)"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "whose pixels are in colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "whose pixels are in colour"),
        ({"SamplesPerPixel": 3}, "whose pixels are in colour"),
        ({"NumberOfFrames": 2}, "of several frames"),
        ({"NumberOfFrames": 1, "PhotometricInterpretation": "MONOCHROME2 "}, None),
        ({"NumberOfFrames": ""}, None),
    ],
)
def test_what_is_left_out(tmp_path, tags, reason):
    (tmp_path / "film.dcm").write_bytes(written(header(**tags)))
    assert reason_to_skip(read_film(tmp_path / "film.dcm")) == reason


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no DICOM file"),
        (b"hello", "no DICOM file"),
        (b"\x08\0hello", "DICOM"),
        (written(header())[:-3000], "less than expected"),
        (written(header(PixelData=b"")), "it has no PixelData; a DICOM image is needed"),
        (written(header(PhotometricInterpretation="")), "it has no PhotometricInterpretation"),
        (written(header(Rows=0)), "pixels cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, content, words):
    (tmp_path / "film.dcm").write_bytes(content)
    with pytest.raises(FilmError, match=words) as caught:
        film_pixels(read_film(tmp_path / "film.dcm"))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom names odd values
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6), st.booleans())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, changes, cut):
    whole = bytearray(written(header(np.arange(64).reshape(8, 8), WindowCenter=30, WindowWidth=9, PixelPaddingValue=3)))
    for place, value in changes:
        whole[int(place * len(whole))] = value
    if cut and changes:
        del whole[int(changes[0][0] * len(whole)) :]
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(whole)
    try:
        film = read_film(path)
        if reason_to_skip(film) is None:
            assert film_pixels(film).dtype == np.uint8
    except FilmError as error:
        assert "\n" not in str(error)


def test_several_transfer_syntaxes_are_none(tmp_path):
    content = written(header()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840\\10008.1.2.1\0", 1)
    (tmp_path / "film.dcm").write_bytes(content)
    with pytest.raises(FilmError, match="its TransferSyntaxUID is .*; one UID is needed"):
        read_film(tmp_path / "film.dcm")


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared fault cases are not here")
def test_films_of_the_fault_cases():
    plain = film_pixels(read_film(REAL / "dicom-one-bad-film/plain.dcm")).astype(int)
    for name in ("window_w0", "modlut12", "no_header", "no_syntax"):
        assert np.abs(film_pixels(read_film(REAL / f"dicom-one-bad-film/{name}.dcm")) - plain).max() <= 1, name
    for name in ("padding", "padding_signed"):
        film = film_pixels(read_film(REAL / f"dicom-padding/{name}.dcm")).astype(int)
        assert not film[:, :6].any() and film.max() == 255, name
        assert (np.diff(film[0, 6:]) > 0).all() and film[0, 6] == 0, name
