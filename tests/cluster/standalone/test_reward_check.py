"""`curlvpr reward check`: sound and unsound rules."""

import json

import pytest

from tests.support.rewards.reward_rows import CLOSED, TRACE, run
from tests.support.simulated_judge import SimulatedJudge

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
        (["rewards.own"], "a rule is written module:name"),
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


WAITING = "tests.support.rewards.waiting_rules"


@pytest.mark.parametrize("rule", ["asks", "Asks", "Batches", "plain"])
def test_rules_of_every_form_can_be_checked(monkeypatch, capsys, rule):
    assert run(monkeypatch, "check", f"{WAITING}:{rule}") == 0
    assert f"{WAITING}:{rule}: 18 responses, 0.01" in capsys.readouterr().out


def test_a_rule_that_cannot_be_constructed_fails_the_check(refused):
    assert "Broken failed: FileNotFoundError: no such model folder" in refused("check", f"{WAITING}:Broken")


def test_a_judge_is_asked_about_every_sample_twice(refused):
    with SimulatedJudge() as judge:
        options = {"model": "m", "base_url": judge.url}
        line = refused("check", "rewards.judge:Judge", "--options", json.dumps(options))
    assert "the judge gave no score" in line and judge.requests[""] == 36  # each of the samples twice, nothing kept
