"""The table of forms, and a form that is added from outside: the example of docs/rewards.md."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

import curriculum.forms
from cluster.measures import Result, Scores
from cluster.service.routes.rewards import ResponseBody
from cluster.standalone.reward_explain import payments
from cluster.standalone.reward_file import read_row, read_rows
from curriculum.forms import GoldForm
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.forms import FORMS
from rewards.score import score
from tests.support.rewards.responses import pairs

DOCS = Path(__file__).parents[3] / "docs" / "rewards.md"
ROW = {"domain": "open", "form": "number", "gold": ["0.5"], "response": pairs("0.52")}


def test_every_form_of_a_task_has_a_judge():
    assert FORMS.keys() == curriculum.forms.FORMS.keys() == {"letters", "names", "text", "boxes"}


def example(title):
    """The module that the documentation shows in a block that begins with the comment `title`."""
    block = re.search(rf"```python\n# {re.escape(title)}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    module = ModuleType(title)
    exec(compile(block[1], title, "exec"), module.__dict__)
    return module


def one_number(gold, options):
    if len(gold) != 1:
        raise ValueError(f"one number is needed, found {len(gold)}")
    float(gold[0])


@pytest.fixture
def with_number(monkeypatch):
    monkeypatch.setitem(FORMS, "number", example("rewards/forms/number.py").FORM)
    monkeypatch.setitem(curriculum.forms.FORMS, "number", GoldForm("open", one_number))


def test_an_unknown_form_is_refused():
    with pytest.raises(ValidationError, match="'letters', 'names', 'text' or 'boxes'"):
        Task(id="n", domain="open", form="number", family="ratio", question="?", images=("x.png",), gold=("0.5",))


@pytest.mark.parametrize("gold, reason", [(("0.5", "0.6"), "one number is needed"), (("half",), "could not convert")])
def test_the_gold_of_an_added_form_is_checked(with_number, gold, reason):
    with pytest.raises(ValidationError, match=reason):
        Task(id="n", domain="open", form="number", family="ratio", question="?", images=("x.png",), gold=gold)


@pytest.mark.parametrize("preset", ["strict", "paper"])
@pytest.mark.parametrize("answer, outcome", [("0.52", 1), (" 0.45 ", 1), ("0.56", 0), ("half", 0), ("nan", 0)])
def test_answers_of_an_added_form_are_judged(with_number, preset, answer, outcome):
    config = RewardConfig(preset=preset)
    row = read_row("a line", ROW | {"response": pairs(answer)}, config)
    verdict = score(row.task, row.response, config)
    assert (verdict.format, verdict.outcome, verdict.answer) == (1, outcome, (answer.strip(),))
    assert verdict.total == pytest.approx(0.1 + 0.9 * outcome)
    assert sum(payment.points for payment in payments(row.task, verdict, config)) == pytest.approx(verdict.total)


def test_files_and_requests_may_have_an_added_form(with_number, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    [row] = read_rows(tmp_path / "rows.jsonl", RewardConfig())
    assert row.task.form == "number" and row.score(RewardConfig()).outcome == 1
    assert ResponseBody(**ROW).form == "number"
    assert "number" in str(ResponseBody.model_json_schema()["properties"]["form"])


def test_evaluations_measure_an_added_form_by_its_mean_outcome(with_number):
    results = []
    for number, answer in enumerate(("0.52", "0.9", "0.49", "half")):
        row = read_row(f"line {number}", ROW | {"response": pairs(answer)}, RewardConfig())
        verdict = score(row.task, row.response, RewardConfig())
        results.append(Result(row.task, row.response, verdict))
    measures = Scores(results, 100).measures()
    assert measures["number_outcome"][0] == 0.5 and measures["number_format_rate"][0] == 1
