"""How many traces were accepted, and why others were not."""

from random import Random

from cluster.standalone.traces.outcomes import Outcome, check
from cluster.standalone.traces.summary import EXAMPLES, TraceSummary
from rewards.traces.report_writer import trace_of
from rewards.traces.verifier import VerifierConfig
from rewards.traces.writer import Draft
from tests.support.rewards.reported import BINARY, CHOICE


def outcome(task, *drafts):
    found = Outcome(task)
    for number, texts in enumerate(drafts):
        fault = "" if texts else "the report is silent on a right answer"
        draft = Draft(task.id, number, texts, fault)
        found.add(draft, check(task, draft, VerifierConfig()))
    return found


def summary(per_task=1):
    good = trace_of(CHOICE, Random(0))
    choices = [
        outcome(CHOICE.model_copy(update={"id": f"c{n}"}), ("B",), (good,) if n < 3 else ("A",)) for n in range(4)
    ]
    return TraceSummary("teacher", [*choices, outcome(BINARY, ())], per_task)


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_by_family_finding_and_reason():
    families, findings, reasons = summary().tables()
    assert rows(families)["multiple_choice"] == ("4", "3", "75.0%", "format 1")
    assert rows(families)["binary"] == ("1", "0", "0.0%", "the report is silent on a right answer 1")
    assert rows(findings) == {"Effusion": ("4", "3", "75.0%"), "Cardiomegaly": ("4", "3", "75.0%")}
    assert rows(reasons)["format"] == ("5", "1")
    assert summary().conclusion() == "writer teacher: 3 of 5 tasks (60.0%) have an accepted trace, 3 traces in all"


def test_the_main_reason_has_an_example():
    bad = [outcome(CHOICE, ("B",)), outcome(CHOICE, ("B",), ("A",)), outcome(BINARY, ())]
    assert TraceSummary("teacher", bad, 1).main_reason().startswith("format (2 of 3 tasks), as in: ")
    assert TraceSummary("report", bad[2:], 1).main_reason() == "the report is silent on a right answer (1 of 1 tasks)"
    assert TraceSummary("report", [outcome(CHOICE)], 1).main_reason() == "nothing was written"


def test_examples_of_each_family_and_reason():
    found = summary()
    accepted = found.accepted_examples()
    assert {family: len(examples) for family, examples in accepted.items()} == {"multiple_choice": EXAMPLES}
    rejected = found.rejected_examples()
    assert set(rejected) == {"format", "not written"} and rejected["format"][0].why.startswith("no pair")
