import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curriculum.importers.questions.easyr1 import import_easyr1
from curriculum.taskset import TaskSetError, read_tasks
from rewards.config import RewardConfig
from rewards.reading.parser import parse
from rewards.score import score
from tests.support.data_sets import assert_gold_is_answerable, assert_splits_share_no_image, draw_film, png

REAL = Path(__file__).parents[5] / "shared/data/fault_cases"
TRACE = (
    "<think>No line.</think><answer>A) ❌</answer> <think>Wide.</think><answer>B) ✅</answer>\n"
    "<think>So B.</think><answer>B) ✅</answer>"
)
LISTING = (
    "<think>Weigh.</think><answer>Edema, Mass</answer><think>Haze.</think><answer>Edema ✅</answer>"
    "<think>None.</think><answer>Mass ❌</answer><think>Sum.</think><answer>Edema, Pleural Effusion</answer>"
)


def jsonl(tmp_path, *rows, name="train.jsonl"):
    for row in rows:
        for image in row.get("images", []):
            draw_film(tmp_path / "imgs" / image)
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
        (easy("Edema?", {"is": "yes"}), r"row 0 .*'answer' must be text, found \{'is': 'yes'\}"),
        (easy("Edema?", [{"is": "yes"}]), r"row 0 .*'answer' must be text, found \[\{'is': 'yes'\}\]"),
        (easy("Edema?", "yes", split="night"), "row 0 .*split 'night' must be train, val or test"),
        (easy("Edema?", "yes") | {"images": [3]}, "row 0 .*an image is 3; a path"),
        (easy("Edema?", "yes") | {"images": "a.png"}, "row 0 .*'images' must be a list, found 'a.png'"),
        ({"prompt": ["Edema?"], "answer": "yes", "images": []}, "row 0 .*'prompt' must be messages"),
    ],
)
def test_bad_chat_rows_are_named_in_one_line(tmp_path, row, words):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    draw_film(tmp_path / "imgs/a.png")
    with pytest.raises(TaskSetError, match=words) as caught:
        import_easyr1(tmp_path / "imgs", tmp_path / "rows.jsonl", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_rows_that_name_images_need_the_folder(tmp_path):
    with pytest.raises(TaskSetError, match="image 'a.png' is a file; the image folder is needed"):
        import_easyr1(None, jsonl(tmp_path, easy("Edema?", "yes")), tmp_path / "out")


def golds(tmp_path, *rows):
    """The gold of each row, or why it is skipped; the rows are written as they are, half characters included."""
    draw_film(tmp_path / "imgs/a.png")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, easy("Which?", "Hernia")]))
    summary = import_easyr1(tmp_path / "imgs", tmp_path / "rows.jsonl", tmp_path / "out")
    tasks = {int(task.id.removeprefix("rows-")): task for task in read_tasks(tmp_path / "out")}
    assert_gold_is_answerable(tasks.values())
    return [tasks[number].gold if number in tasks else None for number in range(len(rows))], summary


MISSING: list[object] = [
    *(None, "", " ", "nan", "NaN", float("nan"), float("-inf"), "null", "NULL", "N/A", "n/a", "#N/A", "<NA>", "NaT"),
    *("[]", [], ["nan"], "['nan']", [None], "XXXX", "___", "-", "[nan]"),
]


@pytest.mark.parametrize("answer", MISSING)
def test_a_missing_answer_is_skipped_and_told(tmp_path, answer):
    found, summary = golds(tmp_path, easy("Which findings?", answer), easy("Which?\nA) Edema\nB) Mass", answer))
    assert found == [None, None]
    assert dict(summary.skipped) == {"without an answer": 2}
    assert summary.lines()[-1].startswith("WARNING: 2 of 3 questions")


@pytest.mark.parametrize(
    "answer",
    [
        "['Edema', 'Mass']",
        '["Edema", "Mass"]',
        "['Edema' 'Mass']",
        "[Edema, Mass]",
        ["Edema", "Mass"],
        "('Edema', 'Mass')",
        "['Edema', 'Mass', nan]",
        '["Edema", "Mass", null]',
    ],
)
def test_a_list_in_a_text_is_a_list(tmp_path, answer):
    options = "Which?\nA) Edema\nB) Hernia\nC) Mass"
    assert golds(tmp_path, easy("Which findings?", answer), easy(options, answer))[0] == [("Edema", "Mass"), ("A", "C")]


def test_letters_in_a_list(tmp_path):
    options = "Which?\nA) Edema\nB) Hernia\nC) Mass"
    rows = [easy(options, answer) for answer in ("['A', 'C']", '["A","C"]', ["A", "C"], "[A]", "[A, C]")]
    assert golds(tmp_path, *rows)[0] == [("A", "C"), ("A", "C"), ("A", "C"), ("A",), ("A", "C")]


def test_lists_of_numbers_are_no_names(tmp_path):
    assert golds(tmp_path, easy("Where?", "[120, 80, 430, 500]"), easy("Where?", "[1, {'a': 2}]"))[0] == [None, None]


@pytest.mark.parametrize(
    "problem, answers",
    [
        ("Which?\nＡ. Edema\nＢ. Mass", ("Ｂ", "B", "Ｂ. Mass", "Mass")),
        ("Which?\n（Ａ）Edema\n（Ｂ）Mass", ("（Ｂ）", "(B)", "Ｂ")),
        ("Which?\nA、Edema\nB、Mass", ("B", "B、Mass", "Ｂ、")),
        ("Which?\nA．Edema　B．Mass", ("B．", "Ｂ．Mass")),
        ("Which? 【A】Edema 【B】Mass", ("【B】", "B")),
        ("Which?\n[A] Edema\n[B] Mass", ("[B]", "[B] Mass")),
        ("Which?\nA：Edema\nB：Mass", ("B：Mass", "Ｂ")),
        ("Which?\nⒶ) Edema\nⒷ) Mass", ("Ⓑ", "B")),
    ],
)
def test_options_in_other_frames(tmp_path, problem, answers):
    rows = [easy(problem, answer) for answer in answers]
    assert golds(tmp_path, *rows)[0] == [("B",)] * len(answers)
    closed = [task for task in read_tasks(tmp_path / "out") if task.domain == "closed"]
    assert {(task.question, *task.options.values()) for task in closed} == {("Which?", "Edema", "Mass")}


@pytest.mark.parametrize("options", ["A) Edema\nB) edema.", "A) \nB) Mass", "A) Ｍass\nB) Mass", "A) nan\nB) Mass"])
def test_options_without_a_text_of_their_own_are_skipped(tmp_path, options):
    found, summary = golds(tmp_path, easy(f"Which?\n{options}", "B"))
    assert found == [None] and dict(summary.skipped) == {"whose options cannot be told apart": 1}


def test_half_characters_and_marks_in_texts(tmp_path):
    rows = [
        easy("Which? \ud83d", "Edema"),
        easy("\ufeffWhich\0?", "Mass\0"),
        dict(problem="<image>Which?", answer="Mass", images=["\ud83d.png"]),
    ]
    found, summary = golds(tmp_path, *rows)
    assert found == [("Edema",), ("Mass",), None] and summary.missing == ["\ufffd.png"]
    assert [task.question for task in read_tasks(tmp_path / "out")][:2] == ["Which? \ufffd", "Which?"]


@pytest.mark.parametrize(
    "name", ["./a.png", ".\\a.png", "../imgs/a.png", "imgs//a.png", "imgs\\a.png", " a.png ", "a.PNG"]
)
def test_paths_as_people_write_them(tmp_path, name):
    assert golds(tmp_path, dict(problem="<image>Which?", answer="Mass", images=[name]))[0] == [("Mass",)]


def test_a_null_in_parquet_is_a_missing_answer(tmp_path):
    rows = [
        dict(problem="<image>Which?", answer=answer, images=[{"bytes": png(1), "path": None}])
        for answer in ("Mass", None)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.PARQUET")
    summary = import_easyr1(None, tmp_path / "x.PARQUET", tmp_path / "out")
    assert dict(summary.skipped) == {"without an answer": 1} and summary.tasks.total() == 1


def test_image_bytes_that_are_no_image_are_skipped(tmp_path):
    rows = [
        dict(problem="<image>Which?", answer="Mass", images=[{"bytes": bytes, "path": None}])
        for bytes in (png(1), b"x")
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    summary = import_easyr1(None, tmp_path / "x.parquet", tmp_path / "out")
    assert dict(summary.skipped) == {"with an image whose bytes cannot be read; PNG and JPEG can": 1}


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared fault cases are not here")
@pytest.mark.parametrize(
    "case, expected",
    [
        ("import-nan-gold", {0: ("Cardiomegaly",), 3: ()}),
        ("import-normal-gold", {0: (), 1: (), 2: (), 3: ()}),
        ("import-fullwidth-options", {0: ("B",)}),
        ("import-half-emoji", {0: ("Edema",), 1: ("Mass",)}),
    ],
)
def test_rows_of_the_fault_cases(tmp_path, case, expected):
    import_easyr1(REAL / case / "img", REAL / case / "data.jsonl", tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert {int(task.id.removeprefix("data-")): task.gold for task in tasks} == expected
    assert_gold_is_answerable(tasks)


def test_columns_of_json_in_text(tmp_path):
    draw_film(tmp_path / "imgs/a.png")
    row = dict(
        prompt=json.dumps([{"role": "user", "content": "<image>Edema?"}]),
        reward_model=json.dumps({"ground_truth": "yes"}),
        images=json.dumps(["a.png"]),
    )
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    import_easyr1(tmp_path / "imgs", tmp_path / "x.parquet", tmp_path / "out")
    assert [task.gold for task in read_tasks(tmp_path / "out")] == [("A",)]


def test_a_split_or_an_image_that_is_nan(tmp_path):
    rows = [easy("Which?", "Mass", split=float("nan")), dict(problem="<image>Which?", answer="Mass", images=[None])]
    found, summary = golds(tmp_path, *rows)
    assert found == [("Mass",), None] and dict(summary.skipped) == {"without an image": 1}
