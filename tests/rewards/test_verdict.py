import json

from rewards.reading.parser import FormatFault
from rewards.verdict import NOT_SCORED, StepVerdict, Verdict, unscored

VERDICT = Verdict(
    total=1.25,
    base=1.0,
    format=1.0,
    outcome=1.0,
    process=0.5,
    reason=0.5,
    answer=("A", "B"),
    steps=(
        StepVerdict(0, 40, "A", "right", 0.5, "A is in the gold", 0.25),
        StepVerdict(40, 80, None, "fault", 0, "no"),
    ),
    faults=(FormatFault("text outside pairs", 80),),
    why=("final answer A, B",),
    more=(("length", 0.5), ("judge", 0.0)),
    failed=("judge",),
)


def test_a_verdict_comes_back_from_json():
    for verdict in (VERDICT, VERDICT._replace(answer=None, steps=(), faults=(), more=())):
        assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_a_verdict_of_a_run_before_rules_could_fail_is_read():
    values = VERDICT._replace(failed=()).to_dict()
    del values["failed"]
    assert Verdict.from_dict(json.loads(json.dumps(values))) == VERDICT._replace(failed=())


def test_a_response_that_no_rule_could_judge_is_worth_nothing():
    verdict = unscored("the worker died")
    assert (verdict.total, verdict.base, verdict.answer, verdict.faults) == (0, 0, None, (NOT_SCORED,))
    assert verdict.why == ("the worker died",)
