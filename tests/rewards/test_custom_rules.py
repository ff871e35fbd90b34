import re
from pathlib import Path

import pytest

from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleError, call_rule, check_own, check_rule, load_rule
from rewards.score import score
from tests.support.rewards.responses import SINGLE, pairs

RULES = """
def share(task, response, verdict, *, part=1.0):
    return part * verdict.outcome

def too_much(task, response, verdict):
    return 7

def raises(task, response, verdict):
    raise KeyError("nothing")

def two(task, response):
    return 1
"""


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """The name of a new module of rules in the working directory."""
    name = f"rules_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return name


def own(rule, weight=0.5, **options):
    return OwnRule(rule=rule, weight=weight, options=options)


def test_a_rule_of_the_working_directory_is_found(rules):
    assert load_rule(f"{rules}:share")(None, "", score(SINGLE, pairs("B"), RewardConfig())) == 1


@pytest.mark.parametrize(
    "rule, reason",
    [("{}:nothing", "cannot be loaded"), ("nowhere_at_all:f", "No module named"), ("{}:two", "must take")],
)
def test_a_rule_that_cannot_be_used_is_refused(rules, rule, reason):
    with pytest.raises(RuleError, match=reason):
        load_rule(rule.format(rules))


def test_options_are_checked_before_there_is_a_response(rules):
    check_rule(own(f"{rules}:share", part=0.5))
    with pytest.raises(RuleError, match=r"^reward.rules.own.half: .*unexpected keyword argument 'prat'"):
        check_own({"half": own(f"{rules}:share", prat=0.5)})


@pytest.mark.parametrize(
    "name, value, reason",
    [("share", 1.0, ""), ("too_much", 0.0, "gave 7.0; a number in"), ("raises", 0.0, "failed: KeyError: 'nothing'")],
)
def test_a_rule_that_fails_is_worth_nothing_and_says_why(rules, name, value, reason):
    verdict = score(SINGLE, pairs("B"), RewardConfig())
    found, why = call_rule(own(f"{rules}:{name}"), SINGLE, "", verdict)
    assert found == value and reason in why and bool(why) == bool(reason)


def test_rules_add_to_the_base_of_a_well_formed_response(rules):
    plain = RewardConfig()
    config = RewardConfig(own={"half": own(f"{rules}:share", weight=0.2, part=0.5), "bad": own(f"{rules}:raises")})
    before, verdict = (score(SINGLE, pairs("B"), c) for c in (plain, config))
    assert verdict.more == (("half", 0.5), ("bad", 0.0))
    assert (verdict.total, verdict.base) == pytest.approx((before.total + 0.1, before.base + 0.1))
    assert verdict.why[-1].startswith("bad: rule ")
    malformed = score(SINGLE, "So: " + pairs("B"), config)
    assert malformed.total == 0 and malformed.more[0] == ("half", 0.5)


def test_the_rule_of_the_documentation(tmp_path, monkeypatch):
    docs = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    source = re.search(r"```python\n(# house_rules\.py\n.*?)```", docs, re.DOTALL)[1]
    (tmp_path / "house_rules.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    config = RewardConfig(own={"prudent": own("house_rules:prudent", weight=0.2, least=5)})
    check_own(config.own)
    short, long = (
        score(SINGLE, pairs("B", think=think), config) for think in ("Haze.", "Haze in both lungs, so it is.")
    )
    assert short.more == (("prudent", 0.0),) and long.more == (("prudent", 1.0),)
