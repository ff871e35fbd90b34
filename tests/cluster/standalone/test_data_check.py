"""`curlvpr data check`, whole."""

from pathlib import Path

import pytest

from cluster.cli.app import main
from tests.support.task_sets import with_faults

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


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_shows_films_unless_told_not_to(clean_set, tmp_path, monkeypatch, shown):
    page = tmp_path / "page.html"
    assert run(monkeypatch, clean_set[0], "--html", page, *([] if shown else ["--no-images"])) == 0
    text = page.read_text(encoding="utf-8")
    assert ("data:image/jpeg;base64," in text) == shown
    assert "grounding" in text and "://" not in text  # loads nothing
