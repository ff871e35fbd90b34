import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

from curriculum.importers.labels.dicom import import_dicom
from curriculum.taskset import TaskSetError, read_tasks

PATIENT = "Zebrafinch^Quillon"
MRN = "MRN-4711-XYZZY"


def film(path: Path, values: np.ndarray, **tags) -> str:
    """Writes a DICOM film of 12 bits; gives its SOPInstanceUID."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    header.SOPClassUID = ComputedRadiographyImageStorage
    header.SOPInstanceUID = generate_uid()
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT, MRN, "19340229"
    header.PatientSex, header.PatientAge, header.ViewPosition, header.StudyDate = "F", "093Y", "PA", "20200102"
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = values.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PixelData = values.astype(np.uint16).tobytes()
    header["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(header, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, header, enforce_file_format=True)
    return str(header.SOPInstanceUID)


def dicom(tmp_path, rows, seed=0):
    (tmp_path / "labels.csv").write_text("image,labels,patient_id\n" + "".join(",".join(row) + "\n" for row in rows))
    summary = import_dicom(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", seed)
    return summary, read_tasks(tmp_path / "out")


def pixels(tmp_path, **tags) -> np.ndarray:
    """The PNG of a 12-bit ramp."""
    film(tmp_path / "in/a.dcm", np.arange(4096).reshape(64, 64), **tags)
    _, tasks = dicom(tmp_path, [("a.dcm", "Mass|Edema", "p")])
    with Image.open(tasks[0].images[0]) as image:
        assert image.mode == "L"
        return np.asarray(image).reshape(-1).astype(int)


def by_window(x: np.ndarray, center: float, width: float) -> np.ndarray:
    """DICOM PS3.3 C.11.2.1.2.1, to 0…255, value by value."""

    def one(value):
        if value <= center - 0.5 - (width - 1) / 2:
            return 0
        if value > center - 0.5 + (width - 1) / 2:
            return 255
        return round(((value - (center - 0.5)) / (width - 1) + 0.5) * 255)

    return np.array([one(value) for value in x])


def test_a_window_is_applied(tmp_path):
    assert (
        abs(pixels(tmp_path, WindowCenter=2000, WindowWidth=1000) - by_window(np.arange(4096), 2000, 1000)).max() <= 1
    )


def test_rescale_comes_before_the_window(tmp_path):
    found = pixels(tmp_path, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=[2000, 10], WindowWidth=[1000, 10])
    assert abs(found - by_window(2 * np.arange(4096) - 100, 2000, 1000)).max() <= 1


def test_monochrome1_is_inverted(tmp_path):
    found = pixels(tmp_path, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=1000)
    assert abs(found - (255 - by_window(np.arange(4096), 2000, 1000))).max() <= 1


def test_without_a_window_the_film_is_stretched(tmp_path):
    assert abs(pixels(tmp_path) - np.arange(4096) * 255 / 4095).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_a_voi_lut_is_applied(tmp_path, bits):
    table = (np.linspace(0, 1, 4096) ** 2 * (2**bits - 1)).round().astype(int)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, bits], table.tolist()
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    assert abs(pixels(tmp_path, VOILUTSequence=[item]) - table * 255 / (2**bits - 1)).max() <= 1


def test_nothing_of_a_patient_is_kept(tmp_path):
    ramp = np.arange(4096).reshape(64, 64)
    names = [film(tmp_path / f"in/{MRN}/deep/{n}.dcm", ramp, StudyDate=f"2020010{n + 1}") for n in range(3)]
    rows = [(f"{MRN}/deep/0.dcm", "Mass", MRN), (names[1], "No finding", MRN), ("2", "Mass|Edema", "other")]
    summary, tasks = dicom(tmp_path, rows, seed=987654321)
    assert summary.films == 3 and {t.family for t in tasks} >= {"binary", "view", "progression", "diagnosis"}
    assert {(t.sex, t.age, t.view) for t in tasks} == {("F", 90.0, "PA")}
    splits = {(t.patient, t.split) for t in tasks}
    assert len(splits) == len({t.patient for t in tasks}) == 2
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 4
    for path in written:
        text = str(path.relative_to(tmp_path)).encode() + path.read_bytes()
        if path.suffix == ".parquet":  # its pages are compressed
            text += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
        for secret in (PATIENT, "Zebrafinch", "Quillon", MRN, "19340229", "20200102", *names):
            assert secret.encode() not in text, (path, secret)
    other_seed = import_dicom(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "again", 1)
    assert {t.patient for t in read_tasks(tmp_path / "again")}.isdisjoint(
        t.patient for t in tasks
    ) and other_seed.films == 3


def test_films_that_do_not_fit_are_counted(tmp_path):
    ramp = np.arange(4096).reshape(64, 64)
    film(tmp_path / "in/a", ramp)
    film(tmp_path / "in/b.dcm", ramp, BurnedInAnnotation="YES")
    film(tmp_path / "in/c.dcm", ramp, PhotometricInterpretation="RGB")
    summary, tasks = dicom(tmp_path, [("a", "Mass", "p"), ("b", "Mass", "p"), ("c", "Mass", "p"), ("d", "Edema", "p")])
    assert summary.films == 1 and len({t.images for t in tasks}) == 1
    assert dict(summary.skipped) == {
        "with text burnt into their pixels (BurnedInAnnotation)": 1,
        "whose pixels are in colour": 1,
        "whose DICOM file is not below the image folder": 1,
    }


def test_a_compression_without_decoder_is_named(tmp_path):
    if get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("a decoder of lossless JPEG is installed")
    film(
        tmp_path / "in/a.dcm",
        np.zeros((4, 4)),
        syntax=JPEGLosslessSV1,
        PixelData=pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"]),
    )
    with pytest.raises(
        TaskSetError, match=r"as JPEG Lossless.*\(1.2.840.10008.1.2.4.70\), pip install 'curlvpr\[dicom\]'"
    ):
        dicom(tmp_path, [("a", "Mass|Edema", "p")])


def test_films_that_cannot_be_read_are_skipped_and_told(tmp_path):
    ramp = np.arange(4096).reshape(64, 64)
    for number in range(4):
        film(tmp_path / f"in/good{number}.dcm", ramp)
    whole = (tmp_path / "in/good0.dcm").read_bytes()
    (tmp_path / "in/cut.dcm").write_bytes(whole[:-3000])
    (tmp_path / "in/text.dcm").write_text("hello")
    (tmp_path / "in/empty.dcm").touch()
    film(tmp_path / "in/frames.dcm", ramp, NumberOfFrames=1)
    whole = (tmp_path / "in/frames.dcm").read_bytes()
    (tmp_path / "in/frames.dcm").write_bytes(whole.replace(b"\x28\0\x08\0IS\x02\x001 ", b"\x28\0\x08\0IS\x02\0x "))
    names = [*(f"good{number}" for number in range(4)), "cut", "text", "empty", "frames"]
    summary, tasks = dicom(tmp_path, [(name, "Mass" if name != "good1" else "Edema", name) for name in names])
    assert summary.films == 4 and len({task.images for task in tasks if task.family == "binary"}) == 4
    assert dict(summary.skipped) == {"whose DICOM file cannot be read": 4}
    *_, line, warning = summary.lines()
    assert line.startswith("skipped 4 films whose DICOM file cannot be read (") and line.endswith("; …)")
    assert "cut.dcm: the pixels cannot be read: " in line and "text.dcm: no DICOM file; " in line
    assert warning == "WARNING: 4 of 8 films (50%) were left out; see the lines above"


def test_an_import_that_can_read_few_films_is_refused(tmp_path):
    film(tmp_path / "in/good.dcm", np.arange(4096).reshape(64, 64))
    rows = [("good", "Mass|Edema", "p")]
    for number in range(40):
        (tmp_path / f"in/bad{number}").write_text("hello")
        rows.append((f"bad{number}", "Mass", "p"))
    with pytest.raises(TaskSetError, match="of the first 20 films that are there, 19 films whose DICOM .*; more than"):
        dicom(tmp_path, rows)


def test_damaged_files_do_not_hide_a_film_that_is_named_by_its_uid(tmp_path):
    uid = film(tmp_path / "in/good.dcm", np.arange(4096).reshape(64, 64))
    whole = (tmp_path / "in/good.dcm").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / f"in/cut{length}").write_bytes(whole[:length] if length < 1500 else b"")
    assert dicom(tmp_path, [(uid, "Mass|Edema", "p")])[0].films == 1


@pytest.mark.parametrize(
    "row, words",
    [
        (("a", "", "p"), "row 0 .*findings separated by |, each once"),
        (("a", "Mass|No finding", "p"), "'No finding' alone"),
        (("a", "Mass|Edema", ""), "row 0 .*both are needed"),
        (("a", "Mass", "p"), r"names the findings \['Mass'\]; questions need two or more"),
        (
            ("text", "Mass|Edema", "p"),
            r"none of its 1 films could be used: 1 films whose DICOM file cannot be read \(.*text.dcm: no DICOM file\)",
        ),
        (
            ("z", "Mass|Edema", "p"),
            r"none of its 1 films could be used: 1 films whose DICOM file is not below the image folder \(z\)",
        ),
    ],
)
def test_bad_dicom_rows_are_named_in_one_line(tmp_path, row, words):
    film(tmp_path / "in/a.dcm", np.zeros((4, 4)))
    (tmp_path / "in/text.dcm").write_text("hello")
    with pytest.raises(TaskSetError, match=words) as caught:
        dicom(tmp_path, [row])
    assert "\n" not in str(caught.value)
