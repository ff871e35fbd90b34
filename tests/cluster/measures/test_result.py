"""What counts as the answer of a response."""

from cluster.measures import Result
from tests.support.results import OPEN


def test_what_an_answer_is():
    def final(text):
        return Result(OPEN[0].task, text, OPEN[0].verdict).final

    assert final("<think>a</think><answer>b</answer><think>c</think><answer> d </answer>") == "d"
    assert final("Plain report.") == "Plain report." and final("<think>cut off") == ""
