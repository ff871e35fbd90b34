"""A fault put into a clean set is reported, at its row, and nothing else is."""

import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from actors.model.check_tokens import TokenBudget, check_tokens
from actors.model.encode import Encoder, PromptConfig
from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.run.prepare import prepare
from curriculum.boxes import write_box
from curriculum.check import check_tasks
from curriculum.importers.nih import import_nih
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.summary import Summary
from curriculum.task import Task
from curriculum.taskset import SCHEMA, TaskSetError, read_tasks, write_tasks

ROOT = Path(__file__).parents[2]
REAL = ROOT / "../shared/data/cxr"
WIDE = TokenBudget(
    512,
    128,
    frozenset({"binary", "single_choice", "multiple_choice", "diagnosis"}),
    frozenset({"binary", "single_choice", "multiple_choice", "diagnosis", "report"}),
)


def faults_of(rows):
    """(row number, kind) of each fault."""
    return Counter((row.number, fault.kind) for row in rows for fault in row.faults)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder with films and a set with every form of task, and its rows. For each row there are bad images as well."""
    folder = tmp_path_factory.mktemp("clean")
    tasks = list(draw_phantom_set(PhantomConfig(train=6, val=3, test=3), folder))
    tasks += [
        Task(
            id=f"box-{n}",
            domain="open",
            form="boxes",
            family="grounding",
            question="Where is Mass?",
            gold=(write_box(1, 2, 30, 40, 100, 100),),
            images=task.images,
            split=task.split,
            patient=task.patient,
        )
        for n, task in enumerate(tasks[::5])
    ]
    whole = Path(tasks[0].images[0]).read_bytes()
    for number in range(len(tasks)):
        (folder / f"images/cut{number}.png").write_bytes(whole[: len(whole) // 2])
        (folder / f"images/text{number}.png").write_text("log in first")
        Image.new("L", (900, 3)).save(folder / f"images/thin{number}.png")  # a side 300 times the other
    write_tasks(tasks, folder)
    return folder, pq.read_table(folder / "tasks.parquet").to_pylist()


def save(folder: Path, rows: list[dict]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "tasks.parquet")
    return folder


# Which rows it can be done to, what, and the kind that must be told of it. # stands for the row's number.
CHANGES = {
    "gold not among the options": (lambda row: row["options"], {"gold": ["G"]}, "answer"),
    "gold twice": (lambda row: row["options"], {"gold": ["A", "A"]}, "answer"),
    "no gold": (lambda row: row["options"], {"gold": []}, "answer"),
    "one option": (lambda row: row["options"], {"options": [("A", "Mass")], "gold": ["A"]}, "answer"),
    "box that is none": (lambda row: row["form"] == "boxes", {"gold": ["[5, 5, 5, 9]"]}, "answer"),
    "form of another domain": (lambda row: True, {"domain": "open", "form": "letters"}, "answer"),
    "empty question": (lambda row: True, {"question": ""}, "question"),
    "blank question": (lambda row: True, {"question": " \n"}, "question"),
    "no question": (lambda row: True, {"question": None}, "question"),
    "no id": (lambda row: True, {"id": None}, "id"),
    "unknown split": (lambda row: True, {"split": "dev"}, "split"),
    "unknown domain": (lambda row: True, {"domain": "closd"}, "domain"),
    "age beyond life": (lambda row: True, {"age": 580.0}, "age"),
    "a caption too many": (lambda row: True, {"captions": ["prior film", "current film"]}, "answer"),
    "missing image": (lambda row: True, {"images": ["images/gone#.png"]}, "image"),
    "broken image": (lambda row: True, {"images": ["images/cut#.png"]}, "image"),
    "text for an image": (lambda row: True, {"images": ["images/text#.png"]}, "image"),
}


@settings(max_examples=60)
@given(st.data())
def test_what_is_put_in_is_reported_and_nothing_else(clean, tmp_path_factory, data):
    folder, rows = clean
    rows = [dict(row) for row in rows]
    where = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=6))
    wanted = Counter()
    for number in where:
        possible = [name for name, (fits, *_) in CHANGES.items() if fits(rows[number])]
        _, change, kind = CHANGES[data.draw(st.sampled_from(possible))]
        rows[number].update(change)
        rows[number]["images"] = [image.replace("#", str(number)) for image in rows[number]["images"]]
        wanted[number, kind] += 1
    # Between rows: an id of a row above, and the split of another patient's film.
    untouched = [n for n in range(len(rows)) if n not in where]
    if data.draw(st.booleans()):
        first, second = sorted(data.draw(st.lists(st.sampled_from(untouched), min_size=2, max_size=2, unique=True)))
        rows[second]["id"] = rows[first]["id"]
        wanted[second, "duplicate id"] += 1
    if data.draw(st.booleans()):
        number = data.draw(st.sampled_from(untouched))
        patient = rows[number]["patient"]
        above = [row for row in rows[:number] if row["patient"] == patient and row["split"] == rows[number]["split"]]
        below = [
            row for row in rows[number + 1 :] if row["patient"] == patient and row["split"] == rows[number]["split"]
        ]
        unnamed = data.draw(st.booleans())
        if unnamed:  # then the image tells
            for row in rows:
                row["patient"] = ""
            above, below = ([row for row in part if row["images"] == rows[number]["images"]] for part in (above, below))
        rows[number]["split"] = "test" if rows[number]["split"] != "test" else "train"
        late = [number] if above else [rows.index(row) for row in below]  # the first row of a patient decides
        wanted.update((n, "two splits") for n in late)
    checked = list(check_tasks(save(copied(folder, tmp_path_factory), rows)))
    assert faults_of(checked) == wanted
    assert [row.number for row in checked] == list(range(len(rows)))
    of_others = {"image", "duplicate id", "two splits"}
    assert all((row.task is None) == bool({fault.kind for fault in row.faults} - of_others) for row in checked)


def copied(folder: Path, tmp_path_factory) -> Path:
    """A folder with the same films."""
    copy = tmp_path_factory.mktemp("copy")
    (copy / "images").symlink_to(folder / "images")
    return copy


def test_faults_of_one_row_are_all_told(clean, tmp_path_factory):
    folder, rows = clean
    rows = [dict(row) for row in rows]
    rows[7] |= {
        "id": rows[0]["id"],
        "question": "",
        "age": -1.0,
        "images": ["images/cut7.png", "images/gone.png"],
        "patient": rows[-1]["patient"],
        "split": rows[0]["split"],
    }
    checked = list(check_tasks(save(copied(folder, tmp_path_factory), rows)))
    of_row = {key: count for key, count in faults_of(checked).items() if key[0] == 7}
    assert of_row == {(7, "question"): 1, (7, "age"): 1, (7, "duplicate id"): 1, (7, "image"): 2}
    told = [checked[7].describe(fault) for fault in checked[7].faults]
    assert all(line.startswith(f"row 7 (0-based), task {rows[0]['id']!r}: ") and "\n" not in line for line in told)
    assert any("gone.png: no such image file" in line for line in told)
    assert any("row 0 has the same id" in line for line in told)


def test_the_first_fault_is_what_read_tasks_raises(clean, tmp_path_factory):
    folder, rows = clean
    rows = [dict(row) for row in rows]
    rows[3] |= {"question": ""}
    rows[9] |= {"gold": ["G"]}
    copy = save(copied(folder, tmp_path_factory), rows)
    row = next(row for row in check_tasks(copy) if row.faults)
    with pytest.raises(TaskSetError) as caught:
        read_tasks(copy)
    assert str(caught.value) == f"{copy / 'tasks.parquet'}: {row.describe(row.faults[0])}"


def test_wrong_columns_are_one_fault_of_the_file(tmp_path):
    pq.write_table(pa.table({"id": ["a"] * 50}), tmp_path / "tasks.parquet")
    with pytest.raises(TaskSetError, match="column 'domain' is missing"):
        next(check_tasks(tmp_path))


def test_every_row_about_a_broken_image_is_told(clean, tmp_path_factory):
    folder, rows = clean
    rows = [row | {"images": ["images/cut0.png"], "patient": "", "split": "train"} for row in rows[:5]]
    checked = list(check_tasks(save(copied(folder, tmp_path_factory), rows)))
    assert faults_of(checked) == {(n, "image"): 1 for n in range(5)} and not any(row.sizes for row in checked)


def test_the_real_set_is_clean(tmp_path):
    if not (REAL / "labels.parquet").exists():
        pytest.skip(f"the real films are not at {REAL}")
    import_nih(REAL / "images", REAL / "labels.parquet", tmp_path)
    summary = Summary()
    for row in check_tasks(tmp_path):
        summary.add(row)
    assert summary.bad_rows == 0 and summary.rows > 11_000
    tables = {table.title: table for table in summary.tables()}
    assert tables["Image files"].rows == [("224 × 224", "1,605")]
    assert dict((row[0], row[1:]) for row in tables["Films and named patients"].rows)["films"] == (
        "1,157",
        "157",
        "291",
    )


def test_the_summary_counts_what_is_there(clean):
    folder, rows = clean
    summary = Summary()
    for row in check_tasks(folder):
        summary.add(row)
    tables = {table.title: table.rows for table in summary.tables()}
    (tasks,) = (rows for title, rows in tables.items() if title.startswith("Tasks, and"))
    assert [(row[1], row[2:5]) for row in tasks if row[1] in ("binary", "grounding")] == [
        ("binary", ("6", "3", "3")),
        ("grounding", ("6", "3", "3")),
    ]
    lengths = sorted(
        len(row["question"]) + sum(len(text) for _, text in row["options"]) for row in rows if row["family"] == "binary"
    )
    assert next(row for row in tasks if row[1] == "binary")[5] == f"{lengths[5]}, {lengths[11]}, {lengths[11]}"
    golds = Counter(name for row in rows if row["form"] == "names" for name in row["gold"] or ["No finding"])
    golds.update(
        dict(row["options"])[letter] for row in rows if row["family"].endswith("choice") for letter in row["gold"]
    )
    assert {row[0]: sum(map(int, row[1:])) for row in tables["Right answers of choices and lists"]} == golds
    assert set(summary.examples) == {row["family"] for row in rows} and all(
        len(e) == 3 for e in summary.examples.values()
    )
    assert summary.conclusion() == f"no fault in {len(rows)} rows"


# -- with a recipe's processor ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig())


def test_token_numbers_are_what_the_model_reads(clean, encoder):
    rows = list(check_tokens(check_tasks(clean[0]), encoder, WIDE))
    assert not faults_of(rows)
    for row in rows[:20]:
        assert row.prompt_tokens == len(encoder.expand(row.task))
        assert row.reference_tokens == (len(encoder.response_ids(row.task.reference)) if row.task.reference else None)


@settings(max_examples=20)
@given(st.data())
def test_token_faults_are_reported_and_nothing_else(clean, encoder, tmp_path_factory, data):
    folder, rows = clean
    rows = [dict(row) for row in rows]
    asked = [n for n, row in enumerate(rows) if row["family"] in WIDE.asked]
    wanted = Counter()
    for number in data.draw(st.lists(st.sampled_from(asked), unique=True, max_size=4)):
        name, kind = data.draw(
            st.sampled_from(
                [
                    ("question", "special token"),
                    ("reference", "special token"),
                    ("options", "special token"),
                    ("context", "special token"),
                    ("context", "too long"),
                    ("question", "too long"),
                    ("reference", "too long"),
                    ("images", "image"),
                ]
            )
        )
        if name == "options" and not rows[number]["options"]:
            continue
        if kind == "special token":
            mark = data.draw(st.sampled_from(["<|image_pad|>", "<|im_end|>", "<|vision_start|>"]))
            marked = [(letter, text + mark) for letter, text in rows[number]["options"]]
            rows[number][name] = marked if name == "options" else f"Is{mark}?"
        elif kind == "too long":
            rows[number][name] = "mass " * (140 if name == "reference" else 400)
        else:
            rows[number]["images"] = [f"images/thin{number}.png"]
        wanted[number, kind] += 1
    copy = save(copied(folder, tmp_path_factory), rows)
    assert faults_of(check_tokens(check_tasks(copy), encoder, WIDE)) == wanted


def test_families_that_are_not_in_the_recipe_are_not_limited(clean, encoder):
    small = TokenBudget(40, 30, frozenset({"binary"}), frozenset({"report"}))
    rows = list(check_tokens(check_tasks(clean[0]), encoder, small))
    assert {row.task.family for row in rows if row.faults} == {"binary", "report"}
    assert all(row.prompt_tokens for row in rows)


def test_a_template_without_placeholders_is_told(clean, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    template = tmp_path / "model/chat_template.jinja"
    template.write_text(template.read_text().replace("<|vision_start|><|image_pad|><|vision_end|>", ""))
    rows = list(check_tokens(check_tasks(clean[0]), Encoder(tmp_path / "model", PromptConfig()), WIDE))
    assert faults_of(rows) == {(row.number, "placeholders"): 1 for row in rows}


# -- the command, and training ----------------------------------------------------------------------------------------


def recipe_for(folder: Path, *settings: str):
    return load_recipe(
        ROOT / "recipes/smoke.yaml",
        [
            f"data={{tasks: {folder}}}",
            "model.tiny.vision_steps=0",
            "stages.sft.tasks={binary: 1, diagnosis: 1}",
            *settings,
        ],
    )


def with_faults(clean, tmp_path_factory) -> Path:
    folder, rows = clean
    rows = [dict(row) for row in rows]
    rows[1] |= {"question": ""}
    rows[6] |= {"images": ["images/gone.png"]}
    rows[12] |= {"id": rows[11]["id"]}
    rows[15] |= {"question": "Is there <|im_end|>?"}
    return save(copied(folder, tmp_path_factory), rows)


def test_training_refuses_a_bad_set_in_one_line(clean, tmp_path_factory, tmp_path):
    folder = with_faults(clean, tmp_path_factory)
    with pytest.raises(UserError) as caught:
        prepare(recipe_for(folder), tmp_path)
    line = str(caught.value)
    assert "\n" not in line and "row 1 (0-based)" in line and "question: is empty" in line and "2 more bad rows" in line
    assert f"curlvpr data check {folder}" in line and "data.drop_bad_rows=true" in line


def test_training_drops_bad_rows_where_told_and_counts_them(clean, tmp_path_factory, tmp_path):
    folder = with_faults(clean, tmp_path_factory)
    prepared = prepare(recipe_for(folder, "data.drop_bad_rows=true"), tmp_path)
    assert prepared.dropped == {"question": 1, "image": 1, "duplicate id": 1, "special token": 1}
    kept = [task.id for tasks in prepared.tasks.values() for task in tasks]
    gone = {n for n in (1, 6, 12, 15)}
    assert sorted(kept) == sorted(row["id"] for n, row in enumerate(clean[1]) if n not in gone)


def test_training_checks_tokens_too(clean, tmp_path):
    with pytest.raises(UserError, match="row .* the prompt has .* tokens"):
        prepare(recipe_for(clean[0], "rollout.max_model_tokens=100"), tmp_path)


def test_training_on_a_clean_set_drops_nothing(clean, tmp_path):
    prepared = prepare(recipe_for(clean[0]), tmp_path)
    assert not prepared.dropped and sum(map(len, prepared.tasks.values())) == len(clean[1])


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["curlvpr", "data", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def test_the_command_tells_every_bad_row_and_exits_with_2(clean, tmp_path_factory, monkeypatch, capsys):
    assert run(monkeypatch, clean[0]) == 0
    assert capsys.readouterr().out.strip().endswith(f"no fault in {len(clean[1])} rows")
    assert run(monkeypatch, with_faults(clean, tmp_path_factory)) == 2
    out = capsys.readouterr().out
    assert [int(line.split()[1]) for line in out.splitlines() if line.startswith("row ")] == [1, 6, 12]
    assert f"3 faults in 3 of {len(clean[1])} rows" in out
    assert run(monkeypatch, clean[0] / "nowhere.parquet") == 2
    assert "no such file" in capsys.readouterr().err


def test_the_command_with_a_recipe_counts_tokens(clean, tmp_path_factory, monkeypatch, capsys):
    assert run(monkeypatch, with_faults(clean, tmp_path_factory), "--recipe", ROOT / "recipes/smoke.yaml") == 2
    out = capsys.readouterr().out
    assert "lengths in tokens" in out and "row 15 " in out and "'<|im_end|>'" in out


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_shows_films_unless_told_not_to(clean, tmp_path, monkeypatch, shown):
    page = tmp_path / "page.html"
    assert run(monkeypatch, clean[0], "--html", page, *([] if shown else ["--no-images"])) == 0
    text = page.read_text(encoding="utf-8")
    assert ("data:image/jpeg;base64," in text) == shown
    assert "grounding" in text and "://" not in text  # loads nothing
