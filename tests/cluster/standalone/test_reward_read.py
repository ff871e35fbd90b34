"""`curlvpr reward read`: how each final answer was read, and why not."""

import json

from tests.support.rewards.reward_rows import CLOSED, answer, run

OPEN = {"domain": "open", "gold": ["Edema"]}
TEXT = {"domain": "open", "form": "text", "gold": ["Edema."]}


def test_each_answer_has_a_line_and_the_unread_are_counted(tmp_path, monkeypatch, capsys):
    rows = [
        CLOSED | {"response": answer("The answer is **B**.")},
        CLOSED | {"response": answer("A or B")},
        CLOSED | {"response": answer("B ❌")},
        CLOSED | {"response": "nothing"},
        OPEN | {"response": answer("No acute cardiopulmonary process")},
        OPEN | {"response": answer("maybe edema")},
        TEXT | {"response": answer("Edema?")},
    ]
    path = tmp_path / "responses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(monkeypatch, "read", path) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["read"] for line in lines] == [["B"], None, None, None, [], None, ["Edema?"]]
    assert lines[0]["how"] == "an option" and lines[4]["how"] == "a normal film"
    assert lines[1]["why"] == "hedges: 'or'" and lines[2]["why"].startswith("its mark rejects it")
    assert err.splitlines() == [
        "4 of 7 unread: hedges 2, its mark rejects it 1, there is no pair of think and answer 1"
    ]


def test_a_bad_file_is_told(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "read", tmp_path / "nowhere.jsonl") == 2
    assert "nowhere.jsonl: No such file" in capsys.readouterr().err
