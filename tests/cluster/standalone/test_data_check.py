"""`curlvpr data check`, whole."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.record.run_writer import recipe_text
from tests.support.task_sets import with_faults

REAL = Path(__file__).parents[4] / "shared/data/fault_cases/own-odd-options"
ROOT = Path(__file__).parents[3]


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["curlvpr", "data", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def test_the_command_tells_every_bad_row_and_exits_with_2(clean_set, tmp_path_factory, monkeypatch, capsys):
    assert run(monkeypatch, clean_set[0]) == 0
    assert capsys.readouterr().out.strip().endswith(f"no fault in {len(clean_set[1])} rows")
    assert run(monkeypatch, with_faults(clean_set, tmp_path_factory)) == 2
    out = capsys.readouterr().out
    assert [int(line.split()[1]) for line in out.splitlines() if line.startswith("row ")] == [1, 6, 12]
    assert f"3 faults in 3 of {len(clean_set[1])} rows" in out
    assert run(monkeypatch, clean_set[0] / "nowhere.parquet") == 2
    assert "no such file" in capsys.readouterr().err


def test_the_command_with_a_recipe_counts_tokens(clean_set, tmp_path_factory, monkeypatch, capsys):
    assert run(monkeypatch, with_faults(clean_set, tmp_path_factory), "--recipe", ROOT / "recipes/smoke.yaml") == 2
    out = capsys.readouterr().out
    assert "lengths in tokens" in out and "row 15 " in out and "'<|im_end|>'" in out


def test_the_command_names_the_settings_with_which_long_rows_would_fit(clean_set, tmp_path, monkeypatch, capsys):
    settings = ["rollout.max_model_tokens=150", "model.min_pixels=784"]
    recipe = load_recipe(ROOT / "recipes/smoke.yaml", settings)
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    assert run(monkeypatch, clean_set[0], "--recipe", tmp_path / "recipe.yaml") == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("rows that are too long would fit: ") and "rollout.max_model_tokens=" in last
    assert last.endswith(f" keeps {len(clean_set[1])} of {len(clean_set[1])}")


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_shows_films_unless_told_not_to(clean_set, tmp_path, monkeypatch, shown):
    page = tmp_path / "page.html"
    assert run(monkeypatch, clean_set[0], "--html", page, *([] if shown else ["--no-images"])) == 0
    text = page.read_text(encoding="utf-8")
    assert ("data:image/jpeg;base64," in text) == shown
    assert "grounding" in text and "://" not in text  # loads nothing


def one_line(monkeypatch, capsys, *arguments) -> str:
    """The one line that a refused check prints."""
    assert run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out and len(captured.err.strip().splitlines()) == 1
    return captured.err.strip()


def test_what_cannot_be_read_or_written_is_told_in_one_line(clean_set, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page"
    page.mkdir()
    tasks = clean_set[0]
    assert "a folder is there; the name of a file is needed" in one_line(monkeypatch, capsys, tasks, "--html", page)
    assert "there is no folder" in one_line(monkeypatch, capsys, tasks, "--html", page / "no/page.html")
    assert "--html /proc" in one_line(monkeypatch, capsys, tasks, "--html", "/proc/page.html")
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", bytes(range(256))):
        (tmp_path / "tasks.parquet").write_bytes(content)
        assert "not a readable Parquet file" in one_line(monkeypatch, capsys, tmp_path)
    assert "has bytes that are no UTF-8; rename it" in one_line(monkeypatch, capsys, str(tmp_path / "half-\udcff"))


def test_a_set_without_rows_is_refused(clean_set, tmp_path, monkeypatch, capsys):
    pq.write_table(pq.read_table(clean_set[0] / "tasks.parquet")[:0], tmp_path / "tasks.parquet")
    assert run(monkeypatch, tmp_path) == 2
    assert "tasks.parquet: it has no row; a task set has one for each task" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared fault cases are not here")
def test_rows_of_the_fault_cases(monkeypatch, capsys):
    assert run(monkeypatch, REAL) == 2
    out = capsys.readouterr().out
    faults = [line for line in out.splitlines() if line.startswith("row ")]
    assert len(faults) == 3 and "3 faults in 3 of 3 rows" in out
    assert "both 'Yes'" in faults[0] and "has no text" in faults[1] and "'nan' says nothing" in faults[2]
