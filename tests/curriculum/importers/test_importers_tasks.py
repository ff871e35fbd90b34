import io
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

from curriculum.importers.answers import Unreadable, read_choice, read_letters, read_names, split_options
from curriculum.importers.dicom import import_dicom
from curriculum.importers.easyr1 import import_easyr1
from curriculum.importers.vqa import SLAKE_LAYOUT, VQA_RAD_LAYOUT, import_vqa
from curriculum.taskset import TaskSetError, read_tasks
from rewards.config import RewardConfig
from rewards.reading.parser import parse
from rewards.score import score

REAL = Path(__file__).parents[3] / "../shared/data/questions"
NAMES = {"A": "Edema", "B": "Pleural effusion, left", "C": "Mass"}
TRACE = (
    "<think>No line.</think><answer>A) ❌</answer> <think>Wide.</think><answer>B) ✅</answer>\n"
    "<think>So B.</think><answer>B) ✅</answer>"
)
LISTING = (
    "<think>Weigh.</think><answer>Edema, Mass</answer><think>Haze.</think><answer>Edema ✅</answer>"
    "<think>None.</think><answer>Mass ❌</answer><think>Sum.</think><answer>Edema, Pleural Effusion</answer>"
)


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), shade).save(file, "PNG")
    return file.getvalue()


def draw(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(shade))


def assert_gold_is_answerable(tasks):
    """A response that says the gold gets the whole outcome from the rewards."""
    for task in tasks:
        final = ", ".join(task.gold) or "No finding"
        assert score(task, f"<think>So.</think><answer>{final}</answer>", RewardConfig()).outcome == 1, task


def assert_splits_share_no_image(tasks):
    splits = defaultdict(set)
    for task in tasks:
        for image in task.images:
            splits[image].add(task.split)
    assert all(len(found) == 1 for found in splits.values())


# Options, letters, names


@pytest.mark.parametrize(
    "problem, question, options",
    [
        ("What is seen?\nA) Edema\nB) Mass", "What is seen?", {"A": "Edema", "B": "Mass"}),
        (
            "What is seen? Options: A. Edema, B. Large mass, C. None",
            "What is seen?",
            {"A": "Edema", "B": "Large mass", "C": "None"},
        ),
        (
            "What is seen?\n(A) It is wide. Very.\n(B) Mass\nAnswer with a letter.",
            "What is seen?\nAnswer with a letter.",
            {"A": "It is wide. Very.", "B": "Mass"},
        ),
        (
            "What is seen? A) Edema B) Mass\nC) Hernia D) None",
            "What is seen?",
            {"A": "Edema", "B": "Mass", "C": "Hernia", "D": "None"},
        ),
        ("Is there a lack of vitamin A. Look.", "Is there a lack of vitamin A. Look.", {}),
    ],
)
def test_options_are_read_from_the_problem(problem, question, options):
    assert split_options(problem) == (question, options)


@pytest.mark.parametrize(
    "problem",
    [
        "Which?\nA) x\nC) y",
        "Which?\nB) x\nA) y",
        "Which?\nA) x\nB) x",
        "Which?\nA) \nB) x",
        "Which? A) x B) y. Answer with a letter.",
        "Which?" + "".join(f"\n{letter}) {letter}{letter}" for letter in "ABCDEFGH"),
    ],
)
def test_unsure_options_are_refused(problem):
    with pytest.raises(Unreadable):
        split_options(problem)


@pytest.mark.parametrize(
    "answer, letters",
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B) Pleural effusion, left", "B"),
        ("pleural effusion, left", "B"),
        ("C, A", "AC"),
        ("A and C", "AC"),
        ("AC", "AC"),
        ("Edema, Mass", "AC"),
        ("A) Edema; C) Mass", "AC"),
    ],
)
def test_letters_of_an_answer(answer, letters):
    assert read_letters(answer, NAMES) == tuple(letters)


@pytest.mark.parametrize("answer", ["D", "A) Mass", "CA", "Hernia", "", "A, Hernia", "Answer: the second"])
def test_answers_that_are_no_option_are_refused(answer):
    with pytest.raises(Unreadable):
        read_letters(answer, NAMES)


@given(
    st.sets(st.sampled_from("ABC"), min_size=1),
    st.sampled_from(["{0}", "{0})", "({0})", "{0}.", "{1}", "{0}) {1}"]),
    st.sampled_from([", ", " and ", "; ", "\n"]),
)
def test_any_list_of_options_is_read(letters, form, between):
    options = NAMES | {"B": "Pleural effusion"}
    answer = between.join(form.format(letter, options[letter]) for letter in sorted(letters))
    assert read_letters(answer, options) == tuple(sorted(letters))


@pytest.mark.parametrize(
    "answer, names",
    [
        ("Edema, Pleural Effusion.", ("Edema", "Pleural Effusion")),
        ("Mass and edema", ("Mass", "edema")),
        ("edema; Edema", ("Edema",)),
        ("None", ()),
        ("No finding", ()),
        ("12", ("12",)),
    ],
)
def test_names_of_an_answer(answer, names):
    assert read_names(answer) == names


@pytest.mark.parametrize(
    "answer",
    [
        "It is shifted to the left",
        "Trauma, tumour, etc",
        "Not sure",
        "",
        "B",
        "Yes, left",
        "Wide. Very wide",
        "A long and winding description of what may be seen on such films",
    ],
)
def test_what_is_no_list_of_names_is_refused(answer):
    with pytest.raises(Unreadable):
        read_names(answer)


@pytest.mark.parametrize(
    "question, answer, options",
    [
        ("Which organ is abnormal, heart or lung?", "Lung", ["Heart", "Lung"]),
        ("Which modality is shown, MRI, CT or X-Ray?", "X-Ray", ["MRI", "CT", "X-Ray"]),
        ("Is this a solid or cystic lesion?", "cystic", ["Solid", "Cystic"]),
        ("Which organ is abnormal, heart or lung?", "Both", None),
        (
            "Is a pneumonia or pleural effusion seen?",
            "pleural effusion",
            None,
        ),  # "effusion" alone would be another option
        ("Is this an MRI, CT or X-ray?", "CT", None),
        ("Where is the nodule?", "Left", None),
    ],
)
def test_a_choice_is_read_from_the_question_only_where_it_is_sure(question, answer, options):
    found = read_choice(question, answer)
    assert (list(found.values()) if found else None) == options


# VQA-RAD and SLAKE_LAYOUT


def rad_row(qid: int, **changes) -> dict:
    return (
        dict(
            qid=str(qid),
            image_name=f"synpic{qid // 2}.jpg",
            image_organ="CHEST",
            question="Is the heart enlarged?",
            answer="Yes",
            answer_type="CLOSED ",
            phrase_type="freeform",
        )
        | changes
    )


def vqa(tmp_path, layout, rows, name="q.json"):
    for row in rows:
        draw(tmp_path / "imgs" / row[layout.image])
    (tmp_path / name).write_text(json.dumps(rows))
    return import_vqa(layout, tmp_path / "imgs", tmp_path / name, tmp_path / "out"), read_tasks(tmp_path / "out")


def test_vqa_rad_rows_become_tasks(tmp_path):
    summary, tasks = vqa(
        tmp_path,
        VQA_RAD_LAYOUT,
        [
            rad_row(0),
            rad_row(1, question="AP or PA film? -open", answer="PA"),
            rad_row(2, question="What is seen?", answer="Edema, mass", answer_type="OPEN"),
            rad_row(3, image_organ="HEAD"),
            rad_row(4, question="Is it normal?"),
            rad_row(5, question="is it normal", answer="no"),
            rad_row(6),
            rad_row(7),
        ],
    )
    assert [(t.id, t.domain, t.family, t.question, list(t.options.values()), t.gold) for t in tasks] == [
        ("vqa-rad-0", "closed", "binary", "Is the heart enlarged?", ["Yes", "No"], ("A",)),
        ("vqa-rad-1", "closed", "single_choice", "AP or PA film?", ["AP", "PA"], ("B",)),
        ("vqa-rad-2", "open", "vqa", "What is seen?", [], ("Edema", "mass")),
        ("vqa-rad-6", "closed", "binary", "Is the heart enlarged?", ["Yes", "No"], ("A",)),
    ]
    assert tasks[0].images == (str(tmp_path / "imgs/synpic0.jpg"),) and tasks[0].patient == "synpic0.jpg"
    assert dict(summary.skipped) == {
        "about images that are no chest X-rays": 1,
        "that are answered in two ways on one image": 2,
        "that are asked again on the same image": 1,
    }
    assert "skipped 2 questions that are answered in two ways on one image" in summary.lines()
    assert tasks[0].licence == "CC0-1.0" and "VQA-RAD" in tasks[0].attribution
    assert_splits_share_no_image(tasks)


def slake_row(qid: int, **changes) -> dict:
    return (
        dict(
            img_id=qid,
            img_name=f"xmlab{qid}/source.jpg",
            question="Is the lung healthy?",
            answer="No",
            q_lang="en",
            location="Lung",
            modality="X-Ray",
            answer_type="CLOSED",
            base_type="vqa",
            content_type="Abnormality",
            triple=["vhead", "_", "_"],
            qid=qid,
        )
        | changes
    )


def test_slake_folder_gives_its_splits_and_images_by_path(tmp_path):
    for number, name in enumerate(("train", "validate", "test")):
        rows = [slake_row(3 * number), slake_row(3 * number + 1, q_lang="zh"), slake_row(3 * number + 2, modality="CT")]
        (tmp_path / "slake").mkdir(exist_ok=True)
        (tmp_path / f"slake/{name}.json").write_text(json.dumps(rows))
        draw(tmp_path / f"slake/imgs/xmlab{3 * number}/source.jpg")
    summary = import_vqa(SLAKE_LAYOUT, tmp_path / "slake/imgs", tmp_path / "slake", tmp_path / "out")
    tasks = sorted(read_tasks(tmp_path / "out"), key=lambda task: task.id)
    assert [(t.id, t.split, t.images[0].removeprefix(str(tmp_path))) for t in tasks] == [
        ("slake-0", "train", "/slake/imgs/xmlab0/source.jpg"),
        ("slake-3", "val", "/slake/imgs/xmlab3/source.jpg"),
        ("slake-6", "test", "/slake/imgs/xmlab6/source.jpg"),
    ]
    assert dict(summary.skipped) == {"that are not English": 3, "about images that are no chest X-rays": 3}


def test_an_image_that_is_missing_is_never_taken_for_another(tmp_path):
    draw(tmp_path / "imgs/xmlab1/source.jpg")
    (tmp_path / "q.json").write_text(json.dumps([slake_row(1), slake_row(2)]))
    summary = import_vqa(SLAKE_LAYOUT, tmp_path / "imgs", tmp_path / "q.json", tmp_path / "out")
    assert [t.id for t in read_tasks(tmp_path / "out")] == ["slake-1"]
    assert summary.missing == ["xmlab2/source.jpg"] and summary.skipped["without their image file"] == 1


@pytest.mark.parametrize(
    "content, words",
    [
        ("[1]", "row 0 .* is 1; a list of objects is needed"),
        ("{", "not a readable JSON file"),
        (json.dumps([{"qid": 1}]), "row 0 .*'image_name' must be text, found None"),
        (json.dumps([rad_row(0) | {"answer": None}]), "row 0 .*qid 0: 'answer' must be text"),
        (json.dumps([{k: v for k, v in rad_row(0).items() if k != "image_organ"}]), "'image_organ' is needed"),
        (json.dumps([rad_row(0)]), "no image is there, the first would be synpic0.jpg"),
        (json.dumps([rad_row(0, split="fold 1")]), "split 'fold 1' must be train, val or test"),
        (json.dumps([rad_row(0, image_organ="HEAD")]), "no question could be read; skipped 1 questions about images"),
    ],
)
def test_bad_question_files_are_named_in_one_line(tmp_path, content, words):
    (tmp_path / "q.json").write_text(content)
    with pytest.raises(TaskSetError, match=words) as caught:
        import_vqa(VQA_RAD_LAYOUT, tmp_path, tmp_path / "q.json", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "layout, name, families",
    [
        (VQA_RAD_LAYOUT, "vqa_rad_chest_train.json", {"binary": 565, "single_choice": 18, "vqa": 291}),
        (SLAKE_LAYOUT, "slake_cxr_train.json", {"binary": 463, "single_choice": 84, "vqa": 1205}),
    ],
)
def test_the_real_questions(tmp_path, layout, name, families):
    if not (REAL / name).exists():
        pytest.skip(f"the real questions are not at {REAL}")
    rows = json.loads((REAL / name).read_text())
    for row in rows:
        draw(tmp_path / "imgs" / row[layout.image])
    summary = import_vqa(layout, tmp_path / "imgs", REAL / name, tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert Counter(task.family for task in tasks) == families and not summary.missing
    assert len(tasks) + summary.skipped.total() == len(rows)
    assert_gold_is_answerable(tasks)
    assert_splits_share_no_image(tasks)


# EasyR1, verl, CX-Mind


def jsonl(tmp_path, *rows, name="train.jsonl"):
    for row in rows:
        for image in row.get("images", []):
            draw(tmp_path / "imgs" / image)
    (tmp_path / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return tmp_path / name


def easy(problem, answer, images=("a.png",), **more):
    return dict(problem="<image>" * len(images) + problem, answer=answer, images=list(images), **more)


def test_easyr1_rows_become_tasks(tmp_path):
    labels = jsonl(
        tmp_path,
        easy("Which?\nA) Edema\nB) Mass", "B"),
        easy("Is there edema?", "no"),
        easy("Name the findings.", "Edema, Mass"),
        easy("Which?\nA) Edema\nB) Mass", "A, B", ("a.png", "b.png")),
        easy("Edema? A) Yes B) No", "\\boxed{A}"),
        easy("How wide?", "It is very wide."),
        easy("Which?", "C"),
        dict(problem="Say.", answer="yes", images=[]),
    )
    summary = import_easyr1(tmp_path / "imgs", labels, tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert [(t.id, t.family, t.question, list(t.options.values()), t.gold, len(t.images)) for t in tasks] == [
        ("train-0", "single_choice", "Which?", ["Edema", "Mass"], ("B",), 1),
        ("train-1", "binary", "Is there edema?", ["Yes", "No"], ("B",), 1),
        ("train-2", "vqa", "Name the findings.", [], ("Edema", "Mass"), 1),
        ("train-3", "multiple_choice", "Which?", ["Edema", "Mass"], ("A", "B"), 2),
        ("train-4", "binary", "Edema?", ["Yes", "No"], ("A",), 1),
    ]
    assert dict(summary.skipped) == {
        "whose answer is no list of names": 1,
        "without an image": 1,
        "whose answer is a letter, with no options in the question": 1,
    }
    assert_gold_is_answerable(tasks)


def test_cx_mind_traces_are_kept_and_give_the_gold(tmp_path):
    problem = "Which?\nA) Edema\nB) Mass"
    labels = jsonl(
        tmp_path,
        easy(problem, TRACE),
        easy("Name the diseases.", LISTING),
        easy(problem, TRACE + " and so on"),
        easy(problem, TRACE.removesuffix("✅</answer>") + "❌</answer>"),
    )
    summary = import_easyr1(tmp_path / "imgs", labels, tmp_path / "out")
    closed, open_ = read_tasks(tmp_path / "out")
    assert closed.gold == ("B",) and closed.reference == TRACE and closed.family == "single_choice"
    assert open_.gold == ("Edema", "Pleural Effusion") and open_.reference == LISTING and open_.family == "diagnosis"
    assert summary.skipped.total() == 2
    for task in (closed, open_):
        assert not parse(task.reference).faults and score(task, task.reference, RewardConfig()).outcome == 1


def test_verl_parquet_holds_its_images(tmp_path):
    def row(n, split, images):
        user = {"role": "user", "content": "<image>" * len(images) + " Edema?"}
        return dict(
            data_source="cxr",
            prompt=[{"role": "system", "content": "Think."}, user],
            reward_model={"style": "rule", "ground_truth": "Yes"},
            extra_info={"split": split, "index": n},
            images=[{"bytes": png(shade), "path": None} for shade in images],
        )

    rows = [row(0, "train", [1]), row(1, "train", [2, 1]), row(2, "test", [3])]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "cxr.parquet")
    summary = import_easyr1(None, tmp_path / "cxr.parquet", tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert tasks[2].split == "test" and tasks[0].split == tasks[1].split != "test"
    assert [[Image.open(image).getpixel((0, 0)) for image in t.images] for t in tasks] == [[1], [2, 1], [3]]
    assert summary.films == 3 == len(list((tmp_path / "out/images").iterdir())) and {t.source for t in tasks} == {"cxr"}
    assert pq.read_table(tmp_path / "out/tasks.parquet")["images"][0].as_py()[0].startswith("images/")


def test_questions_that_share_images_stay_in_one_split(tmp_path):
    rows = [
        easy("Edema?", "yes", (f"{n}.png", f"{n + 1}.png")) for n in range(40) if n % 4 != 3
    ]  # chains of four images
    import_easyr1(tmp_path / "imgs", jsonl(tmp_path, *rows, name="rows.jsonl"), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert_splits_share_no_image(tasks)
    assert len({t.patient for t in tasks}) == 10 and len({t.split for t in tasks}) > 1


@pytest.mark.parametrize(
    "row, words",
    [
        (easy("Edema?", "yes") | {"problem": "Edema?"}, "row 0 .*the problem has 0 <image> and the row 1 images"),
        (easy("Edema? <image>", "yes"), "row 0 .*the problem has 2 <image> and the row 1 images"),
        ({"question": "Edema?", "answer": "yes"}, "row 0 .*'problem' must be text, found None; the fields are"),
        (easy("Edema?", ["yes"]), r"row 0 .*'answer' must be text, found \['yes'\]"),
        (easy("Edema?", "yes", split="night"), "row 0 .*split 'night' must be train, val or test"),
        (easy("Edema?", "yes") | {"images": [3]}, "row 0 .*an image is 3; a path"),
        (easy("Edema?", "yes") | {"images": "a.png"}, "row 0 .*'images' must be a list, found 'a.png'"),
        ({"prompt": ["Edema?"], "answer": "yes", "images": []}, "row 0 .*'prompt' must be messages"),
    ],
)
def test_bad_chat_rows_are_named_in_one_line(tmp_path, row, words):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    draw(tmp_path / "imgs/a.png")
    with pytest.raises(TaskSetError, match=words) as caught:
        import_easyr1(tmp_path / "imgs", tmp_path / "rows.jsonl", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_rows_that_name_images_need_the_folder(tmp_path):
    with pytest.raises(TaskSetError, match="image 'a.png' is a file; the image folder is needed"):
        import_easyr1(None, jsonl(tmp_path, easy("Edema?", "yes")), tmp_path / "out")


# DICOM

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


@pytest.mark.parametrize(
    "row, words",
    [
        (("a", "", "p"), "row 0 .*findings separated by |, each once"),
        (("a", "Mass|No finding", "p"), "'No finding' alone"),
        (("a", "Mass|Edema", ""), "row 0 .*both are needed"),
        (("a", "Mass", "p"), r"names the findings \['Mass'\]; questions need two or more"),
        (("text", "Mass|Edema", "p"), "row 0 .*text.dcm is no DICOM file that can be read"),
        (
            ("z", "Mass|Edema", "p"),
            "none of its 1 films could be used: 1 whose DICOM file is not below the image folder",
        ),
    ],
)
def test_bad_dicom_rows_are_named_in_one_line(tmp_path, row, words):
    film(tmp_path / "in/a.dcm", np.zeros((4, 4)))
    (tmp_path / "in/text.dcm").write_text("hello")
    with pytest.raises(TaskSetError, match=words) as caught:
        dicom(tmp_path, [row])
    assert "\n" not in str(caught.value)
