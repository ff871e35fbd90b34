"""Own rules of every form together: parts, gates and order, whatever the timing."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.calls.own_rules import OwnRules, rules_of
from rewards.config import RewardConfig
from rewards.custom_rules import RuleInput
from rewards.score import Answer, score, score_all
from tests.support.rewards.responses import SINGLE, pairs
from tests.support.rewards.waiting_rules import CALLS, worth

RULES = "tests.support.rewards.waiting_rules"


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()


def config(**rules):
    return RewardConfig.model_validate(
        {"own": {name: {"rule": f"{RULES}:{name}", "weight": 0.1} | more for name, more in rules.items()}}
    )


ALL = config(plain={}, asks={}, Asks={"options": {"part": 0.5}}, TrustedBatches={"weight": 0.3})


def scored(rules, *texts):
    return score_all([Answer(SINGLE, text) for text in texts], rules, OwnRules(rules.own))


def test_parts_and_weights_are_those_of_the_recipe():
    text = pairs("B", think="Haze.")
    plain = score(SINGLE, text, RewardConfig())
    (verdict,) = scored(ALL, text)
    value = worth(text)
    assert verdict.more == (
        ("plain", value),
        ("asks", value),
        ("Asks", pytest.approx(value / 2)),
        ("TrustedBatches", value),
    )
    assert verdict.total == pytest.approx(plain.total + value * (0.1 + 0.1 + 0.05 + 0.3))
    assert verdict.total - verdict.base == pytest.approx(plain.total - plain.base)
    assert verdict.failed == ()


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "neither"]),
            st.sampled_from(["fine", "raises", "always fails", "refuses", "too much"]),
            st.booleans(),
        ),
        min_size=2,
        max_size=12,
    )
)
def test_an_opinion_of_any_weight_never_lifts_a_wrong_or_malformed_response(drawn):
    rules = config(asks={"weight": 100, "retries": 0}, Batches={"weight": 100, "retries": 0})
    texts = [
        ("So: " if bad else "") + pairs(answer, think=f"{words} {number}")
        for number, (answer, words, bad) in enumerate(drawn)
    ]
    before = [score(SINGLE, text, RewardConfig()) for text in texts]
    for (answer, words, bad), old, new in zip(drawn, before, scored(rules, *texts), strict=True):
        if answer != "B" or bad:
            assert new.total == old.total and dict(new.more) == {"asks": 0, "Batches": 0} and not new.failed
        elif words == "fine":
            assert new.total > old.total + 1 and not new.failed
        else:
            assert new.total == old.total and new.failed == ("asks", "Batches")


def test_the_recipe_lifts_it_for_a_rule_or_imposes_it_on_one():
    rules = config(asks={"right_only": False}, plain={"right_only": True})
    wrong = pairs("A", think="Haze.")
    (verdict,) = scored(rules, wrong)
    assert dict(verdict.more) == {"asks": worth(wrong), "plain": 0}
    assert verdict.why[-1] == "plain: asked about right answers only"


def test_the_order_is_that_of_the_responses_whoever_answers_first():
    texts = [pairs("B", think="x" * number) for number in range(1, 41)]
    found = scored(config(asks={"options": {"seconds": 0.01}, "concurrency": 7}), *texts)
    assert [dict(verdict.more)["asks"] for verdict in found] == [worth(text) for text in texts]
    assert found == scored(config(asks={"options": {"seconds": 0.0}, "concurrency": 1}), *texts)


def test_score_itself_waits_for_such_rules_and_keeps_their_clients():
    rules = config(Asks={})
    assert rules_of(rules) is rules_of(RewardConfig.model_validate(rules.model_dump()))
    for words in ("a", "b", "c"):
        text = pairs("B", think=words)
        assert dict(score(SINGLE, text, rules).more) == {"Asks": worth(text)}
    assert CALLS["constructed"] <= 1


def test_a_rule_that_blocks_the_loop_is_noticed():
    rules = OwnRules(config(blocks={"options": {"seconds": 1.0}}).own)
    assert rules.is_alive(5)
    text = pairs("B")
    finish = rules.begin([RuleInput(SINGLE, text, score(SINGLE, text, RewardConfig()))], [True])
    time.sleep(0.2)
    assert not rules.is_alive(0.1)
    assert finish()[0][0].value == 1.0 and rules.is_alive(5)


def test_a_model_that_cannot_be_loaded_is_told_at_the_start():
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        OwnRules(config(Broken={}).own).start()
