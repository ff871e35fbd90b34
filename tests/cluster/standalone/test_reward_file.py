"""`curlvpr rewards check`, `explain` and `extract`: what users have in files, and a line for each of their rows."""

import io
import json
import subprocess
import sys

import pytest

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.reward_rows import CLOSED, OPTIONS, SMOKE, TRACE, answer, recipe_of, run
from tests.support.rewards.waiting_rules import BATCHES, worth


def test_a_line_of_findings_for_each_text(tmp_path, monkeypatch, capsys):
    path = tmp_path / "texts.jsonl"
    rows = [
        {"text": "Enlarged heart, small effusions. No edema; cannot exclude pneumonia.", "id": 7},
        {"text": ""},
        {"text": "Ödem ✅"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(monkeypatch, "extract", path) == 0
    first, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"present": ["Cardiomegaly", "Effusion"], "absent": ["Edema"], "uncertain": ["Pneumonia"]}
    assert others == [{"present": [], "absent": [], "uncertain": []}] * 2


def test_the_reason_for_each_finding(tmp_path, monkeypatch, capsys):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "No large mass."}\n{"text": ""}\n')
    assert run(monkeypatch, "extract", "--explain", path) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: line 1",
        '  absent: Mass (severe), from "mass"',
        '      cue: "No" (negation)',
        '      scope: "No large mass"',
        "      reason: the cue denies what follows it in its statement",
        f"{path}: line 2",
    ]


@pytest.mark.parametrize(
    "line, words",
    [
        (b"no json", "line 2: no JSON"),
        (b"", "line 2: no JSON"),
        (b"[1]", 'line 2: no "text"'),
        (b'{"txt": "a"}', 'line 2: no "text"'),
        (b'{"text": 3}', 'line 2: no "text"'),
        (b'{"text": "\xff"}', "line 2: no JSON"),
        (b"[" * 100_000, "line 2: no JSON"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path, monkeypatch, capsys, line, words):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "Mass."}\n' + line + b"\n")
    assert run(monkeypatch, "extract", path) == 2
    out, err = capsys.readouterr()
    assert words in err and len(err.splitlines()) == 1 and "Mass" in out


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "extract", tmp_path / "nowhere.jsonl") == 2
    assert "nowhere.jsonl: No such file" in capsys.readouterr().err


def test_the_commands_start_without_the_training_stack():
    code = (
        "import sys, cluster.cli, cluster.standalone.reward_check, cluster.standalone.reward_explain; "
        "print({'torch', 'ray', 'pandas', 'vllm', 'numpy', 'cluster.config.recipe'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )


def test_a_line_of_verdict_for_each_response(scored):
    right, cut = scored(CLOSED | {"response": TRACE, "id": 7}, CLOSED | {"response": TRACE, "truncated": True})
    task = Task(
        id="t",
        domain="closed",
        family="f",
        question="Which finding?",
        options=OPTIONS,
        gold=("B",),
        images=("x",),
        reference=TRACE,
    )
    expected = score(task, TRACE, RewardConfig())
    assert set(right) == {"total", "format", "outcome", "process", "reason", "answer", "steps", "faults", "why"}
    assert right["total"] == expected.total == pytest.approx(1.5) and right["answer"] == ["B"] and right["faults"] == []
    assert right["steps"][1] == {
        "start": 43,
        "end": 93,
        "candidate": "B",
        "judgement": "right",
        "score": 1.0,
        "grounding": 1.0,
        "stake": 1.0,
        "why": expected.steps[1].why,
    }
    assert cut["total"] == cut["format"] == 0 and cut["outcome"] == 1
    assert cut["faults"] == [{"what": "cut off at the length limit", "position": len(TRACE)}]


def test_paper_also_gives_overall_and_base(scored):
    (found,) = scored(CLOSED | {"response": TRACE}, preset="paper")
    assert found["base"] == 1 and found["overall"] == found["total"] == pytest.approx(1 + 0.5 + 1)


@pytest.mark.parametrize(
    "row, response, outcome",
    [
        ({"domain": "closed", "options": OPTIONS, "gold": "B"}, "Edema", 1),  # no question, no reference, one string
        ({"domain": "closed", "options": OPTIONS, "gold": ["edema"]}, "B", 1),
        ({"domain": "closed", "options": OPTIONS, "gold": ["Pulmonary oedema", "(c)"]}, "B and C", 1),
        ({"domain": "closed", "options": list(OPTIONS.values()), "gold": ["B"]}, "B", 1),
        ({"domain": "closed", "options": {"B": "Edema", "A": "Mass"}, "gold": ["B"]}, "B", 1),
        ({"domain": "closed", "gold": ["Yes"]}, "Yes", 1),
        ({"domain": "closed", "gold": "no."}, "B", 1),
        ({"domain": "closed", "gold": "No"}, "Yes", 0),
        ({"domain": "closed", "options": {"A": "No", "B": "Yes"}, "gold": "no"}, "A", 1),
        ({"domain": "open", "gold": "Edema, pleural effusion"}, "Edema", 2 / 3),
        ({"domain": "open", "gold": ["No Finding"]}, "No finding", 1),
        ({"domain": "open", "gold": []}, "Normal", 1),
        (
            {"domain": "open", "gold": ["Edema"], "form": None, "truncated": None, "question": None, "options": None},
            "Edema",
            1,
        ),
        ({"domain": "open", "form": "text", "gold": "Edema, effusion and mass."}, "Edema, effusion and mass.", 1),
        ({"domain": "open", "form": "boxes", "gold": [[100, 100, 400, 500]]}, "[100, 100, 400, 500]", 1),
        ({"domain": "open", "form": "boxes", "gold": "[100, 100, 400, 500]"}, "[100, 100, 250, 500]", 1 / 2),
    ],
)
def test_what_a_user_plausibly_has_is_read(scored, row, response, outcome):
    (found,) = scored(row | {"response": answer(response)})
    assert (found["format"], found["outcome"]) == pytest.approx((1, outcome)), found["why"]


@pytest.mark.parametrize(
    "gold, response, outcome",
    [
        ("Yes", "Yes", 1),
        ("Yes", "A", 0),
        ("No", "No", 0),  # the published code reads gold "Yes" as option E, "No" as none
        (["Edema"], "E", 1),
        (["B"], "(B)", 1),
        (["b"], "B", 1),
    ],
)
def test_paper_takes_a_closed_gold_as_the_published_code_does(scored, gold, response, outcome):
    options = {} if gold in ("Yes", "No") else {"options": OPTIONS}
    (found,) = scored({"domain": "closed", "gold": gold, "response": answer(response)} | options, preset="paper")
    assert found["outcome"] == outcome


def test_paper_takes_an_open_gold_as_it_is_written(scored):
    rows = [
        {"domain": "open", "gold": gold, "response": answer(text)}
        for gold, text in ((["No finding"], "no finding"), ([], "No finding"), (["pleural effusion"], "effusion"))
    ]
    assert [found["outcome"] for found in scored(*rows, preset="paper")] == [1, 0, 0]
    assert [found["outcome"] for found in scored(*rows)] == [1, 1, 1]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"response": None}, 'no "response"'),
        ({"domain": "shut"}, "\"domain\" must be closed or open, found 'shut'"),
        ({"domain": None}, '"domain" must be'),
        ({"gold": None}, '"gold" must be a list of strings'),
        ({"gold": [2]}, '"gold" must be'),
        ({"gold": ["D"]}, "gold 'D' is none of the options"),
        ({"gold": ["Hernia"]}, "gold 'Hernia' is none of the options"),
        ({"gold": []}, "gold [] is not among the options"),
        ({"options": {}}, 'needs "options"'),
        ({"options": "A, B"}, '"options" must be'),
        ({"options": {"A": 1}}, '"options" must be'),
        ({"options": {"A": "Mass", "C": "Edema"}, "gold": "A"}, "options must be lettered A, B"),
        ({"reference": 3}, "reference: "),
        ({"question": ["?"]}, "question: "),
        ({"truncated": "yes"}, "truncated must be true or false"),
        ({"form": "boxes"}, "boxes is no form of a closed task"),
        ({"form": "essay"}, "form: "),
        ({"domain": "open"}, "an open task has no options"),
        ({"gold": ["B", "Edema"]}, "names something twice"),
        ({"domain": "open", "options": None, "gold": ["Edema", "Normal"]}, "names a finding and No finding"),
        ({"domain": "open", "options": None, "form": "text", "gold": ["a", "b"]}, "one gold text"),
        ({"domain": "open", "options": None, "form": "boxes", "gold": [[1, 2, 3]]}, "is not a box"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path, refused, change, words):
    path = tmp_path / "rows.jsonl"
    rows = CLOSED | {"response": TRACE}, CLOSED | {"response": "x"} | change
    path.write_text("\n".join(map(json.dumps, rows)))
    line = refused("score", path)
    assert f"{path}: line 2: " in line and words in line


def test_rows_may_come_from_standard_input(monkeypatch, capsys, refused):
    def give(text):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    give(json.dumps(CLOSED | {"response": TRACE}) + "\n")
    assert run(monkeypatch, "score", "-") == 0 and json.loads(capsys.readouterr().out)["outcome"] == 1
    give("{}\n")
    assert "standard input: line 1: " in refused("score", "-")


def test_a_recipe_gives_its_own_weights_and_rules(tmp_path, scored):
    guard = {"rule": "rewards.own:length_guard", "weight": 0.5, "options": {"least": 1, "most": 100}}
    path = recipe_of(tmp_path, format=0, outcome=2, process=0, reason=0, own={"length": guard})
    (found,) = scored(CLOSED | {"response": TRACE}, recipe=path)
    assert found["total"] == pytest.approx(2 + 0.5) and found["more"] == {"length": 1}


def test_what_cannot_be_used_of_a_recipe_is_told(tmp_path, refused, monkeypatch, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(CLOSED | {"response": TRACE}))
    guard = {"rule": "rewards.own:length_guard", "weight": 0.5, "options": {"least": 1, "longest": 100}}
    recipe = recipe_of(tmp_path, own={"length": guard})
    assert "own.length: rule rewards.own:length_guard" in refused("score", rows, "--recipe", recipe)
    assert "one of them" in refused("score", rows, "--recipe", SMOKE, "--preset", "paper")
    assert "no such recipe" in refused("score", rows, "--recipe", tmp_path / "none.yaml")
    assert run(monkeypatch, "score", rows, "--recipe", recipe_of(tmp_path, rarity=0.5)) == 0
    assert "needs the train tasks" in capsys.readouterr().err


def test_own_rules_that_wait_judge_many_rows_at_once(tmp_path, scored):
    rule = {"rule": "tests.support.rewards.waiting_rules:Batches", "weight": 0.5, "cache": "none"}
    path = recipe_of(tmp_path, own={"batches": rule})
    BATCHES.clear()
    rows = [CLOSED | {"response": TRACE.replace("<think>", "<think>" + "So. " * number)} for number in range(12)]
    found = scored(*rows, CLOSED | {"response": TRACE + "raises"}, recipe=path)
    assert [line["more"]["batches"] for line in found[:12]] == [worth(row["response"]) for row in rows]
    assert found[12]["more"] == {"batches": 0} and not any(line["failed"] for line in found)
    assert BATCHES == [8, 4]
