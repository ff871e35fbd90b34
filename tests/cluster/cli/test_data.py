"""`curlvpr data import`: the commands are those that the importers declare."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.cli.data import import_commands
from cluster.errors import UserError
from curriculum.importers import IMPORTERS, load_importers
from curriculum.importers.importer import OUT, SEED, Importer, ImportSummary, Option
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task
from curriculum.taskset import TaskSetError, read_tasks, write_tasks

OPTIONS = {
    "nih": ["images", "labels", "out", "boxes", "seed"],
    "chexpert": ["images", "labels", "out", "seed", "uncertain"],
    "mimic": ["images", "tables", "out", "reports", "seed", "uncertain"],
    "padchest": ["images", "labels", "out", "seed"],
    "openi": ["images", "reports", "out", "labels", "seed"],
    "own": ["images", "table", "out", "reports", "seed"],
    "vqa-rad": ["images", "labels", "out", "seed"],
    "slake": ["images", "labels", "out", "seed"],
    "easyr1": ["labels", "out", "images", "seed"],
    "dicom": ["images", "labels", "out", "seed", "cluster"],
    "cxr-lt": ["images", "labels", "out", "seed"],
    "vindr": ["images", "labels", "out", "sizes", "seed", "uncertain", "cluster"],
    "rsna": ["images", "labels", "out", "classes", "mappings", "seed", "cluster"],
    "siim": ["images", "labels", "out", "seed", "cluster"],
    "ms-cxr": ["images", "labels", "out", "tables", "seed"],
    "padchest-gr": ["images", "reports", "table", "out", "seed"],
    "imagenome": ["images", "graphs", "tables", "out", "seed"],
    "radgraph": ["images", "graphs", "tables", "out", "seed", "uncertain"],
    "reports": ["labels", "out", "seed"],
    "mimic-cxr-vqa": ["images", "labels", "out", "tables", "seed"],
    "ehrxqa": ["images", "labels", "tables", "out", "seed"],
    "rexvqa": ["images", "labels", "out", "seed"],
    "gemex": ["images", "labels", "out", "tables", "seed"],
}


def import_notes(notes: list[Path], out: Path, seed: int, films: Path | None, aloud: bool) -> ImportSummary:
    """An importer from outside the repository: a question for each line of some text files."""
    summary = ImportSummary(out / "tasks.parquet", f"all in train, seed {seed}, films {films}, aloud {aloud}")
    tasks = []
    for path in notes:
        for number, line in enumerate(path.read_text().splitlines()):
            if "?" not in line:
                raise TaskSetError(f"{path}: line {number} is not a question")
            tasks.append(
                Task(id=f"{path.stem}-{number}", domain="open", family="note", question=line, gold=(), images=())
            )
    write_tasks(summary.counted(tasks), out)
    return summary


NOTES = Importer(
    "notes",
    "Notes: a question a line.",
    (
        Option("notes", "text files; may be repeated", "paths"),
        OUT,
        SEED,
        Option("films", "folder with the films", "folder", required=False),
        Option("aloud", "read them out", "flag", required=False),
    ),
    import_notes,
)


def run_notes(*arguments: object) -> None:
    command = import_commands([*load_importers(), NOTES])["notes"]
    command.main([str(argument) for argument in arguments], standalone_mode=False)


def test_an_importer_from_outside_gets_a_command(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("Is there a mass?\n")
    run_notes("--notes", tmp_path / "a.txt", "--notes", tmp_path / "b.txt", "--out", tmp_path / "out", "--seed", 3)
    assert [task.id for task in read_tasks(tmp_path / "out")] == ["a-0", "b-0"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"0 films, 2 tasks → {tmp_path}/out/tasks.parquet"
    assert lines[1] == "splits: all in train, seed 3, films None, aloud False"
    run_notes("--notes", tmp_path / "a.txt", "--out", tmp_path / "out", "--aloud")
    assert "seed 0, films None, aloud True" in capsys.readouterr().out


def test_faults_of_paths_and_of_data_are_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("A mass.\n")
    with pytest.raises(UserError, match=r"^--notes .*none.txt: no such file or folder$"):
        run_notes("--notes", tmp_path / "a.txt", "--notes", tmp_path / "none.txt", "--out", tmp_path / "out")
    with pytest.raises(UserError, match=r"^--films .*a.txt: no such folder$"):
        run_notes("--notes", tmp_path / "a.txt", "--out", tmp_path / "out", "--films", tmp_path / "a.txt")
    with pytest.raises(UserError, match=r"a.txt: line 0 is not a question$"):
        run_notes("--notes", tmp_path / "a.txt", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_importer_is_a_command_with_its_options():
    importers = load_importers()
    assert len(importers) == len(IMPORTERS)
    assert {importer.name: [option.name for option in importer.options] for importer in importers} == OPTIONS
    commands = import_commands(importers)
    assert list(commands) == list(OPTIONS)
    for name, options in OPTIONS.items():
        assert [parameter.opts for parameter in commands[name].params] == [[f"--{option}"] for option in options]


def test_the_command_line_lists_and_runs_them(tmp_path):
    listed = CliRunner().invoke(app, ["data", "import", "--help"])
    assert listed.exit_code == 0 and all(f" {name} " in listed.output for name in OPTIONS)
    unknown = CliRunner().invoke(app, ["data", "import", "nhi"])
    assert unknown.exit_code == 2 and "No such command" in unknown.output
    incomplete = CliRunner().invoke(app, ["data", "import", "nih", "--images", str(tmp_path)])
    assert incomplete.exit_code == 2 and "--labels" in incomplete.output
    run = CliRunner().invoke(app, ["data", "import", "nih", "--images", "nowhere", "--labels", "x.csv", "--out", "o"])
    assert isinstance(run.exception, UserError) and str(run.exception) == "--images nowhere: no such folder"


def test_the_importer_in_the_documentation_works(tmp_path):
    page = (Path(__file__).parents[3] / "docs/own-data.md").read_text(encoding="utf-8")
    section = page.partition("## Add an importer")[2].partition("\nand the line")[0]
    code = "\n".join(line.removeprefix("    ") for line in section.splitlines() if line.startswith("    ") or not line)
    module: dict[str, object] = {}
    exec(code, module)
    (tmp_path / "films").mkdir()
    rows = ["file,patient,findings", *(f"{number}.png,p{number},{'Mass' if number % 2 else ''}" for number in range(8))]
    (tmp_path / "films.csv").write_text("\n".join(rows))
    for number in range(8):
        (tmp_path / f"films/{number}.png").touch()
    arguments = ["--images", tmp_path / "films", "--labels", tmp_path / "films.csv", "--out", tmp_path / "out"]
    commands = import_commands([*load_importers(), module["CLINIC"]])
    commands["clinic"].main([str(argument) for argument in arguments], standalone_mode=False)
    diagnoses = [task.gold for task in read_tasks(tmp_path / "out") if task.family == "diagnosis"]
    assert diagnoses == [(), ("Mass",)] * 4


def drawn(out, *options):
    return CliRunner().invoke(app, ["data", "phantoms", "--out", str(out), *options])


def test_phantoms_are_drawn_as_a_recipe_would_draw_them(tmp_path):
    options = ["--train", "3", "--val", "1", "--test", "2", "--trace-recall", "0.5", "--seed", "7"]
    run = drawn(tmp_path / "set", *options, "--hospital", "away")
    assert run.exit_code == 0
    assert run.output.splitlines()[0] == f"6 films, 30 tasks → {tmp_path}/set/tasks.parquet"
    config = PhantomConfig(train=3, val=1, test=2, trace_recall=0.5, seed=7, hospital="away")
    for task, expected in zip(
        read_tasks(tmp_path / "set"), draw_phantom_set(config, tmp_path / "expected"), strict=True
    ):
        assert task.model_copy(update={"images": ()}) == expected.model_copy(update={"images": ()})
        assert Path(task.images[0]).read_bytes() == Path(expected.images[0]).read_bytes()


def test_faults_of_drawn_sets_are_one_line(tmp_path):
    unknown = drawn(tmp_path / "set", "--hospital", "elsewhere")
    assert isinstance(unknown.exception, UserError)
    assert str(unknown.exception) == "data phantoms: hospital: Input should be 'home' or 'away', found 'elsewhere'"
    (tmp_path / "file").touch()
    taken = drawn(tmp_path / "file", "--train", "1", "--val", "1", "--test", "1")
    assert isinstance(taken.exception, UserError) and "a file is there" in str(taken.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_import_names_what_is_missing(refused, tmp_path):
    assert "--images" in refused("data", "import", "nih", "--images", "no", "--labels", "no.csv", "--out", "out")
    assert "--labels" in refused("data", "import", "nih", "--images", tmp_path, "--labels", "no.csv", "--out", "out")


@pytest.mark.parametrize(
    "out, words",
    [
        ("file", "a file is there; a folder is needed"),
        ("file/x/y", "a part of this path is a file"),
        ("/proc/x", "this folder cannot be made or written"),
        ("half-\udcff", "this path has bytes that are no UTF-8; rename it"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_any_work(refused, tmp_path, out, words):
    (tmp_path / "file").touch()
    (tmp_path / "rows.jsonl").write_text("no JSON, which would be told if it were read")
    before = sorted(tmp_path.rglob("*"))
    assert words in refused("data", "import", "easyr1", "--labels", "rows.jsonl", "--out", out)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_library_warns_of_is_not_shown(tmp_path):
    """Pillow warns of a TIFF whose values are cut off. In a process of its own, since pytest takes the warnings."""
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    start = int.from_bytes(content[4:8], "little") + 2
    tags = {int.from_bytes(content[at : at + 2], "little"): at for at in range(start, len(content) - 12, 12)}
    content[tags[273] + 4 : tags[273] + 8] = (10**6).to_bytes(4, "little")  # so many offsets of strips
    row = {"problem": "<image>Edema?", "answer": "no", "images": [{"bytes": bytes(content), "path": None}]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    words = ["data", "import", "easyr1", "--labels", "rows.parquet", "--out", "out"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "Warning" not in done.stderr and len(done.stderr.splitlines()) <= 1, done.stderr


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf",
    b'{"problem": "<image>?", "answer": "caf\xe9", "images": ["a.png"]}',
    b"[" * 100_000,
    b'{"a": ' * 2000,
    b'{"problem": ' + b"9" * 5000 + b"}",
    b'{"problem": "<image>?", "answer": "x", "images": ["a\\u0000.png"]}',
    b'{"problem": "<image>?", "answer": "x", "images": [' + b'"' + b"a" * 5000 + b'"]}',
    b'{"problem": "<image>?", "answer": "x", "images": [{"bytes": null, "path": null}]}',
    b'{"problem": "<image>?", "answer": ["a", {"b": 1}], "images": ["a.png"]}',
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_any_bytes_are_told_in_one_line(refused, tmp_path, content, suffix):
    (tmp_path / "img").mkdir()
    (tmp_path / f"rows.{suffix}").write_bytes(content)
    assert "rows" in refused(
        "data", "import", "easyr1", "--labels", f"rows.{suffix}", "--images", "img", "--out", "out"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "name",
    [
        *("nih", "chexpert", "padchest", "dicom", "vqa-rad", "slake"),
        *("cxr-lt", "vindr", "rsna", "siim", "ms-cxr", "mimic-cxr-vqa", "rexvqa", "gemex"),
    ],
)
def test_any_table_is_told_in_one_line(refused, tmp_path, content, name):
    (tmp_path / "img").mkdir()
    table = "rows.json" if name in ("vqa-rad", "slake", "mimic-cxr-vqa", "rexvqa", "gemex") else "rows.csv"
    (tmp_path / table).write_bytes(content)
    assert "rows" in refused("data", "import", name, "--labels", table, "--images", "img", "--out", "out")
    assert not (tmp_path / "out").exists()
