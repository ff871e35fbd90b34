import re
from pathlib import Path

import pytest

from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleError, call_rule, check_own, check_rule, form_of, is_opinion, load_rule, waits
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


FORMS = "tests.support.rewards.waiting_rules"


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


@pytest.mark.parametrize(
    "name, form",
    [
        ("plain", "function"),
        ("asks", "async function"),
        ("ready", "async function"),  # an object whose __call__ is async
        ("Asks", "async class"),
        ("Batches", "batch class"),
    ],
)
def test_every_form_of_a_rule_is_known_and_only_functions_do_not_wait(name, form):
    rule = own(f"{FORMS}:{name}")
    assert form_of(load_rule(rule.rule)) == form and waits(rule) == (form != "function")
    assert is_opinion(rule) == (form != "function")
    check_rule(rule)


def test_a_rule_may_say_that_it_is_no_opinion():
    assert not is_opinion(own(f"{FORMS}:TrustedBatches"))


def test_a_function_with_workers_of_its_own_waits():
    rule = own(f"{FORMS}:plain").model_copy(update={"workers": 2, "timeout_s": 3.0})
    assert waits(rule) and rule.own_workers == 2
    check_rule(rule)


@pytest.mark.parametrize("settings, workers", [({}, 0), ({"gpus": 0.5}, 1), ({"runtime_env": {}}, 1), ({"cpus": 0}, 1)])
def test_a_rule_has_workers_of_its_own_if_it_needs_something_of_its_own(settings, workers):
    assert OwnRule(rule="a:b", weight=1, **settings).own_workers == workers


@pytest.mark.parametrize(
    "name, settings, reason",
    [
        (
            "plain",
            {"concurrency": 3, "retries": 0},
            "a plain function, so concurrency, retries cannot be used; make it",
        ),
        ("plain", {"cache": "memory"}, "cache cannot be used"),
        ("asks", {"tokens_per_minute": 100}, "needs a rule with estimate_tokens"),
        ("asks", {"options": {"second": 1}}, "unexpected keyword argument 'second'; it takes"),
        ("Asks", {"options": {"prat": 1}}, "unexpected keyword argument 'prat'"),
        ("Sync", {}, "needs async def __call__"),
    ],
)
def test_settings_that_are_of_no_use_are_refused_in_a_line(name, settings, reason):
    with pytest.raises(RuleError, match=reason) as caught:
        check_rule(OwnRule(rule=f"{FORMS}:{name}", weight=1, **settings))
    assert "\n" not in str(caught.value)


def test_a_function_that_gives_a_coroutine_is_told_to_be_async():
    verdict = score(SINGLE, pairs("B"), RewardConfig())
    assert call_rule(own(f"{FORMS}:makes_a_coroutine"), SINGLE, "", verdict) == (
        0.0,
        f"rule {FORMS}:makes_a_coroutine gave a coroutine; declare it as async def",
    )


def test_a_rule_that_only_its_own_environment_can_load_is_checked_there():
    rule = OwnRule(rule="no.such.package:Metric", weight=1, runtime_env={"pip": ["some"]})
    check_rule(rule)
    assert waits(rule) and is_opinion(rule)


def test_the_forms_of_the_documentation(tmp_path, monkeypatch):
    docs = (Path(__file__).parents[2] / "docs" / "model-rules.md").read_text()
    source = re.search(r"```python\n(# slow_rules\.py\n.*?)```", docs, re.DOTALL)[1]
    (tmp_path / "slow_rules.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    forms = [form_of(load_rule(f"slow_rules:{name}")) for name in ("asked", "Asked", "Computed")]
    assert forms == ["async function", "async class", "batch class"]
    check_own({"asked": own("slow_rules:Asked", url="http://judge:8000")})
