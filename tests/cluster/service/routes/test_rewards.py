"""/v1/rewards: the verdicts are those of the rules."""

import pytest

from rewards.config import RewardConfig
from rewards.score import score
from tests.support.service import CLOSED


def test_verdicts_are_those_of_the_rules(service):
    status, answer = service(
        "POST", "/v1/rewards/score", {"responses": [CLOSED, CLOSED | {"response": "A"}]}, role="read"
    )
    assert status == 200
    from cluster.standalone.reward_file import read_row

    for told, response in zip(answer["verdicts"], (CLOSED["response"], "A"), strict=True):
        row = read_row("here", CLOSED | {"response": response}, RewardConfig())
        right = score(row.task, response, RewardConfig())
        assert told["total"] == pytest.approx(right.total) and told["why"] == list(right.why)
        assert [(s["start"], s["end"], s["judgement"]) for s in told["steps"]] == [
            (s.start, s.end, s.judgement) for s in right.steps
        ]
    status, answer = service("POST", "/v1/rewards/explain", CLOSED)
    assert status == 200 and sum(p["points"] for p in answer["points"]) == pytest.approx(answer["verdict"]["total"])


@pytest.mark.parametrize(
    "body, words",
    [
        ({"responses": [CLOSED | {"gold": ["Z"]}]}, "responses.0: gold 'Z' is none of the options"),
        ({"responses": [CLOSED, CLOSED | {"options": None}]}, 'responses.1: a closed row needs "options"'),
        ({"responses": []}, "at least 1 item"),
        ({"responses": [CLOSED], "presett": "paper"}, "Extra inputs"),
        ({"responses": [CLOSED | {"domain": "both"}]}, "'closed' or 'open'"),
    ],
)
def test_what_cannot_be_scored_is_told(service, body, words):
    status, answer = service("POST", "/v1/rewards/score", body)
    assert status == 422 and words in str(answer)
