import json
import subprocess
import sys

import pytest

from cluster.cli import main


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["curlvpr", "reward", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def test_a_line_of_findings_for_each_text(tmp_path, monkeypatch, capsys):
    path = tmp_path / "texts.jsonl"
    rows = [{"text": "Enlarged heart, small effusions. No edema; cannot exclude pneumonia.",
    "id": 7}, {"text": ""}, {"text": "Ödem ✅"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(monkeypatch, "extract", path) == 0
    first, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"present": ["Cardiomegaly", "Effusion"], "absent": ["Edema"], "uncertain": ["Pneumonia"]}
    assert others == [{"present": [], "absent": [], "uncertain": []}] * 2


@pytest.mark.parametrize("line, words", [
    (b"no json", "line 2: no JSON"), (b"", "line 2: no JSON"), (b"[1]", 'line 2: no "text"'),
    (b'{"txt": "a"}', 'line 2: no "text"'),
    (b'{"text": 3}', 'line 2: no "text"'), (b'{"text": "\xff"}', "line 2: no JSON"), (b"[" * 100_000, "line 2: no JSON"),
])
def test_a_bad_line_is_told_with_its_number(tmp_path, monkeypatch, capsys, line, words):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "Mass."}\n' + line + b"\n")
    assert run(monkeypatch, "extract", path) == 2
    out, err = capsys.readouterr()
    assert words in err and len(err.splitlines()) == 1 and "Mass" in out


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "extract", tmp_path / "nowhere.jsonl") == 2
    assert "nowhere.jsonl: No such file" in capsys.readouterr().err


def test_the_command_starts_without_the_training_stack():
    code = "import sys, cluster.cli, cluster.reward_file; print({'torch', 'ray', 'pandas', 'vllm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
