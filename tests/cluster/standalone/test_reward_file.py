import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli.app import main
from cluster.standalone.reward_check import sample_rows
from cluster.standalone.reward_explain import payments
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"
OPTIONS = {"A": "Mass", "B": "Edema", "C": "Nodule"}
TRACE = (
    "<think>No mass.</think><answer>A ❌</answer><think>There is edema.</think><answer>B ✅</answer>"
    "<think>No nodule.</think><answer>C ❌</answer><think>So.</think><answer>B ✅</answer>"
)
CLOSED = {"domain": "closed", "question": "Which finding?", "options": OPTIONS, "gold": ["B"], "reference": TRACE}


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["curlvpr", "reward", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code


def answer(text):
    return f"<think>It is so.</think><answer>{text}</answer>"


@pytest.fixture
def scored(tmp_path, monkeypatch, capsys):
    """Scores rows by the command; gives the objects that it prints."""

    def scored(*rows, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        more = [word for name, value in options.items() for word in (f"--{name}", value)]
        assert run(monkeypatch, "score", path, *more) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(found) == len(rows)
        return found

    return scored


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command that must be refused; gives the one line that it prints."""

    def refused(*arguments):
        assert run(monkeypatch, *arguments) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and err.startswith("curlvpr: "), err
        return err

    return refused


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


def recipe_of(tmp_path, **rules):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"reward": {"rules": rules}}))
    return path


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


def explained(tmp_path, monkeypatch, capsys, row, *options):
    path = tmp_path / "rows.jsonl"
    path.write_text("not JSON\n" + json.dumps(row) + "\n")
    assert run(monkeypatch, "explain", path, "--line", "2", *options) == 0
    return capsys.readouterr().out


def test_a_response_is_explained_step_by_step(tmp_path, monkeypatch, capsys):
    response = TRACE.replace("C ❌", "C ✅").replace("So.</think><answer>B", "So.</think><answer>C")
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    assert "rows.jsonl: line 2, preset strict\nWhich finding?\n  A  Mass\n" in out and "gold B" in out
    assert "step 2, B: fault, 0.00: B ✅ contradicts the final answer" in out
    assert "step 3, C: wrong" in out and "<think>No nodule.</think><answer>C ✅</answer>" in out
    assert "format     1.000 × 0.1   = 0.100" in out and "outcome    0.000 × 0.9   = 0.000" in out
    assert out.rstrip().endswith("total                      0.100")


def test_faults_are_marked_where_they_are_and_no_response_commands_the_terminal(tmp_path, monkeypatch, capsys):
    response = f"\x1b[31mSo {TRACE}\ud800<think>"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    monkeypatch.delenv("FORCE_COLOR")
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    assert "\x1b[31mSo" not in coloured and "\x1b[4;31m·[31mSo" in coloured  # underlined
    assert "⟨1⟩ ·[31mSo" in out and "⟨2⟩ ·" in out and out.count("<think>⟨3⟩") == 1 and "\x1b" not in out
    assert "⟨1⟩ text outside pairs, at character 0" in out and "⟨3⟩ unclosed pair" in out
    assert "outcome    1.000 × 0.9   = 0.000   format gate" in out


def test_paper_is_explained_with_its_amounts(tmp_path, monkeypatch, capsys):
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": TRACE}, "--preset", "paper")
    assert "process    0.500 × 1     = 0.500" in out and out.rstrip().endswith("2.500")


def test_a_line_that_is_not_there_is_told(tmp_path, refused):
    (tmp_path / "rows.jsonl").write_text("{}\n{}\n")
    assert "has no line 3; it has 2" in refused("explain", tmp_path / "rows.jsonl", "--line", "3")


guards = st.fixed_dictionaries(
    {"rule": st.just("rewards.own:length_guard"), "weight": st.just(0.3), "options": st.just({"least": 5, "most": 20})}
)
configs = st.just({"preset": "paper"}) | st.fixed_dictionaries(
    {
        "format": st.sampled_from([0, 0.1]),
        "process": st.sampled_from([0, 0.3]),
        "reason": st.sampled_from([0, 0.2]),
        "gates": st.sets(st.sampled_from(["format", "outcome", "batch"])).map(tuple),
        "own": st.dictionaries(st.just("length"), guards),
    }
)


@given(configs, st.sampled_from(list(sample_rows())), st.booleans())
def test_the_explained_points_sum_to_the_total(settings, row, truncated):
    config = RewardConfig.model_validate(settings)
    verdict = score(row.task, row.response, config, truncated)
    assert sum(payment.points for payment in payments(row.task, verdict, config)) == pytest.approx(
        verdict.total, abs=2e-6
    )


HOUSE = """
import random
from curriculum.task import Task
from rewards.verdict import Verdict

def fine(task: Task, response: str, verdict: Verdict, *, part: float = 1.0) -> float:
    return part * verdict.outcome

def far(task, response, verdict):
    return 7

def nan(task, response, verdict):
    return float("nan")

def raises(task, response, verdict):
    return len(response) and task.options["A"]

def moody(task, response, verdict):
    return random.random()

def words(task, response, verdict):
    return "good"

def two(task, response):
    return 1

constant = 1
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A module of rules in the working directory; a name that no test has loaded before."""
    name = f"house_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    (tmp_path / f"{name}.py").write_text(HOUSE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_sound_rule_passes_the_check(house, monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "check", f"{house}:fine", "--options", '{"part": 0.5}') == 0
    out = capsys.readouterr().out
    assert "closed, right" in out and "text, empty" in out and "18 responses, 0.000 to 0.500" in out
    rows = tmp_path / "rows.jsonl"
    rows.write_text((json.dumps(CLOSED | {"response": TRACE}) + "\n") * 25)
    assert run(monkeypatch, "check", f"{house}:fine", rows) == 0
    out = capsys.readouterr().out
    assert "25 responses, 1.000 to 1.000" in out and "… and 5 more" in out


@pytest.mark.parametrize(
    "rule, words",
    [
        ("far", "closed, right: rule {}:far gave 7.0; a number in [0, 1] is needed (and 17 more responses)"),
        ("nan", "gave nan"),
        ("raises", "rule {}:raises failed: "),
        ("words", "could not convert string to float"),
        ("moody", "for the same response"),
        ("two", "it must take (task, response, verdict)"),
        ("constant", "it must take"),
        ("none", "has no attribute 'none'"),
    ],
)
def test_an_unsound_rule_fails_the_check(house, refused, rule, words):
    assert words.format(house) in refused("check", f"{house}:{rule}")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["rewards.own"], "a rule is written module:function"),
        (["nowhere_at_all:f"], "No module named"),
        (["rewards.own:length_guard"], "missing a required argument: 'least'"),
        (
            ["rewards.own:length_guard", "--options", '{"least": 1, "most": 2, "mots": 3}'],
            "unexpected keyword argument 'mots'",
        ),
        (["rewards.own:length_guard", "--options", "[1]"], "it must be a JSON object"),
        (["rewards.own:length_guard", "--options", "least"], "it must be a JSON object"),
        (
            ["rewards.own:length_guard", "nowhere.jsonl", "--options", '{"least": 1, "most": 2}'],
            "nowhere.jsonl: No such file",
        ),
    ],
)
def test_a_rule_or_options_that_cannot_be_used_are_told(refused, arguments, words):
    assert words in refused("check", *arguments)


@pytest.mark.parametrize(
    "rule, options",
    [
        ("length_guard", {"least": 0, "most": 40}),
        ("stage_order", {"stages": ["Heart", "Lungs"]}),
    ],
)
def test_the_ready_made_rules_pass_the_check(monkeypatch, rule, options):
    assert run(monkeypatch, "check", f"rewards.own:{rule}", "--options", json.dumps(options)) == 0


def test_the_points_of_a_text_in_other_words_sum_to_its_total():
    """All its findings are right, so the outcome gate lets process through although the outcome is below 1."""
    task = Task(
        id="t", domain="open", form="text", family="f", question="?", images=("-",), gold=("Pulmonary edema. No mass.",)
    )
    response = (
        "<think>Edema is seen. No mass.</think><answer>Look</answer>"
        "<think>So.</think><answer>There is edema, no mass.</answer>"
    )
    verdict = score(task, response, RewardConfig())
    assert verdict.outcome < 1 and verdict.total > verdict.base
    assert sum(p.points for p in payments(task, verdict, RewardConfig())) == pytest.approx(verdict.total)
