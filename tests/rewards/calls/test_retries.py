import pytest

from rewards.calls.retries import is_worth_retrying, pause_s
from rewards.config import MAX_PAUSE_S
from rewards.custom_rules import RuleFault


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), OSError(), RuntimeError("busy")])
def test_what_may_pass_is_tried_again(error):
    assert is_worth_retrying(error)


@pytest.mark.parametrize("error", [RuleFault("no score"), KeyError("x"), TypeError(), ImportError(), SystemExit()])
def test_errors_of_the_rule_itself_are_not(error):
    assert not is_worth_retrying(error)


def test_pauses_grow_to_a_limit_and_depend_on_nothing_but_their_arguments():
    pauses = [pause_s(tries, "key", OSError()) for tries in range(1, 8)]
    assert pauses == [pause_s(tries, "key", OSError()) for tries in range(1, 8)]
    for tries, pause in enumerate(pauses, 1):
        assert min(0.25 * 2 ** (tries - 1), MAX_PAUSE_S) <= pause <= min(0.5 * 2 ** (tries - 1), MAX_PAUSE_S)


def test_calls_that_failed_together_do_not_come_back_together():
    assert len({round(pause_s(1, str(key), OSError()), 3) for key in range(100)}) > 60


@pytest.mark.parametrize("asked, pause", [(3, 3), (9999, MAX_PAUSE_S)])
def test_an_endpoint_may_ask_for_more(asked, pause):
    error = OSError()
    error.retry_after_s = asked
    assert pause_s(1, "key", error) == pause
