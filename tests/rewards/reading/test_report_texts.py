import pytest

from rewards.reading.report_texts import NoReport, report_of, report_texts
from tests.support.rewards.reports import REPORT
from tests.support.rewards.responses import OPEN, SINGLE, pairs

FINDINGS = "Small left effusion. The heart is normal."


@pytest.mark.parametrize(
    "response, answer",
    [
        (pairs("Draft.", " The heart is large.\n"), "The heart is large."),
        ("<think>Long.</think><answer>Cut o", ""),
        ("No tags at all.", ""),
        (pairs("Clear.") + "<think>more</think>", "Clear."),
        (pairs(" "), ""),
    ],
)
def test_the_answer_is_that_of_the_last_pair(response, answer):
    assert report_texts(REPORT, response) == (answer, REPORT.gold[0])


def test_the_report_is_the_gold_text_or_else_a_reference_without_tags():
    assert report_of(REPORT.model_copy(update={"reference": FINDINGS})) == REPORT.gold[0]
    for task in (OPEN, SINGLE):
        assert report_of(task.model_copy(update={"reference": f"  {FINDINGS}\n"})) == FINDINGS


@pytest.mark.parametrize("reference", [None, "", " ", pairs("Edema, Pleural Thickening")])
def test_a_task_without_a_report_says_so(reference):
    with pytest.raises(NoReport, match="^task o has no report to compare with: its form is names"):
        report_texts(OPEN.model_copy(update={"reference": reference}), pairs("Edema"))
