import json
from collections import Counter
from pathlib import Path

import pytest

from curriculum.importers.questions.vqa import SLAKE_LAYOUT, VQA_RAD_LAYOUT, import_vqa
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, assert_splits_share_no_image, draw_film

REAL = Path(__file__).parents[4] / "../shared/data/questions"


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
        draw_film(tmp_path / "imgs" / row[layout.image])
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
        draw_film(tmp_path / f"slake/imgs/xmlab{3 * number}/source.jpg")
    summary = import_vqa(SLAKE_LAYOUT, tmp_path / "slake/imgs", tmp_path / "slake", tmp_path / "out")
    tasks = sorted(read_tasks(tmp_path / "out"), key=lambda task: task.id)
    assert [(t.id, t.split, t.images[0].removeprefix(str(tmp_path))) for t in tasks] == [
        ("slake-0", "train", "/slake/imgs/xmlab0/source.jpg"),
        ("slake-3", "val", "/slake/imgs/xmlab3/source.jpg"),
        ("slake-6", "test", "/slake/imgs/xmlab6/source.jpg"),
    ]
    assert dict(summary.skipped) == {"that are not English": 3, "about images that are no chest X-rays": 3}


def test_an_image_that_is_missing_is_never_taken_for_another(tmp_path):
    draw_film(tmp_path / "imgs/xmlab1/source.jpg")
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
        (json.dumps([rad_row(0) | {"answer": True}]), "row 0 .*qid 0: 'answer' must be text"),
        (json.dumps([rad_row(0) | {"answer": None}]), r"skipped 1 questions without an answer \(row 0\)"),
        (json.dumps([rad_row(0) | {"qid": float("nan")}]), "skipped 1 questions without a qid or an image"),
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
        draw_film(tmp_path / "imgs" / row[layout.image])
    summary = import_vqa(layout, tmp_path / "imgs", REAL / name, tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert Counter(task.family for task in tasks) == families and not summary.missing
    assert len(tasks) + summary.skipped.total() == len(rows)
    assert_gold_is_answerable(tasks)
    assert_splits_share_no_image(tasks)
