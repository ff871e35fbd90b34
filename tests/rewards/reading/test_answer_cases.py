"""Answers as models write them: every case of answer_cases.toml, with the abuse that each form invites."""

import tomllib
from pathlib import Path

import pytest

from rewards.reading.choices.choice import read_choice
from rewards.reading.names import read_list_of_findings

DATA = tomllib.loads(Path(__file__).with_name("answer_cases.toml").read_text(encoding="utf-8"))
QUESTIONS = DATA["questions"]
CLOSED, OPEN = [], []
for kind in DATA["kind"]:
    is_closed = "options" in QUESTIONS[kind["asks"]]
    rows = [pytest.param(kind["asks"], *case, id=f"{kind['name']}-{case[0]}") for case in kind["cases"]]
    (CLOSED if is_closed else OPEN).extend(rows)


@pytest.mark.parametrize("asks, answer, letters", CLOSED)
def test_an_answer_to_a_closed_question(asks, answer, letters):
    question = QUESTIONS[asks]
    reading = read_choice(answer, question["options"], question["question"])
    assert reading.value == (tuple(letters) or None)
    assert bool(reading.why_unread) != bool(reading.how)


@pytest.mark.parametrize("asks, answer, names", OPEN)
def test_a_list_of_names(asks, answer, names):
    reading = read_list_of_findings(answer)
    expected = {"": None, "No finding": ()}
    assert reading.value == (expected[names] if names in expected else tuple(names.split(", ")))
    assert bool(reading.why_unread) != bool(reading.how)
