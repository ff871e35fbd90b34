"""What a judge is asked, and that a response cannot answer for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError, UndefinedError

from rewards.config import RewardConfig
from rewards.judge.prompt import NAMES, PROMPT, PromptTemplate
from rewards.score import score
from tests.support.rewards.responses import SINGLE, pairs


def fill(source, response=None, task=SINGLE):
    text = pairs("B") if response is None else response
    return PromptTemplate(source).fill(task, text, score(task, text, RewardConfig()))


def test_the_default_names_question_options_answer_and_response():
    prompt = fill(PROMPT)
    gold = SINGLE.gold[0]
    assert SINGLE.question in prompt and f"Confirmed answer: {gold}) {SINGLE.options[gold]}" in prompt
    for letter, option in SINGLE.options.items():
        assert f"\n{letter}) {option}\n" in prompt
    assert f"\n{pairs('B')}\n" in prompt and prompt.endswith("Score: N\n")


def test_a_template_may_use_every_name():
    assert PromptTemplate(" ".join(f"{{{{ {name} }}}}" for name in NAMES))
    assert fill("{{ answer }}|{{ task.family }}") == f"B|{SINGLE.family}"


@given(st.text())
def test_a_response_cannot_close_its_fence(words):
    fence = fill("{{ fence }}", words)
    again = words + fence  # knowing the fence of another response does not help
    assert fill("{{ fence }}", again) not in again


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__ }}", "{{ task.__class__.__init__.__globals__ }}", "{{ options.update({'A': 'x'}) }}"],
)
def test_a_template_of_a_stranger_reaches_nothing_else(source):
    with pytest.raises((SecurityError, UndefinedError)):
        fill(source)


@pytest.mark.parametrize(
    "source, reason", [("{{ gold", "no jinja2 template"), ("{{ golds }}", "no such name as golds")]
)
def test_a_template_that_cannot_be_used_is_told(source, reason):
    with pytest.raises(ValueError, match=f"^prompt: {reason}"):
        PromptTemplate(source)
