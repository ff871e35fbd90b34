import pytest

from curriculum.sampling.likeness import MAX_CHARACTERS, MAX_FINDINGS, Likeness, findings_of

YES_NO = {"A": "Yes", "B": "No"}
FINDINGS = {"A": "Edema", "B": "Mass", "C": "Nodule"}


@pytest.mark.parametrize(
    "form, question, options, gold, findings",
    [
        ("names", "Which?", {}, ("Edema", "Mass"), ("Edema", "Mass")),
        ("names", "Which?", {}, (), ("No finding",)),
        ("letters", "Which?", FINDINGS, ("A", "C"), ("Edema", "Nodule")),
        ("letters", "Is there Edema?", YES_NO, ("B",), ("Is there Edema? No",)),
        ("letters", "Edema?", {"A": "Present", "B": "Absent", "C": "Uncertain"}, ("C",), ("Edema? Uncertain",)),
        ("boxes", "Where is the mass?", {}, ("1 2 3 4",), ("Where is the mass?",)),
        ("text", "Write the impression.", {}, ("Normal.",), ("Write the impression.",)),
    ],
)
def test_what_a_task_is_about(form, question, options, gold, findings):
    assert findings_of(form, question, options, gold) == findings


def test_findings_are_few_and_short():
    assert len(findings_of("names", "?", {}, [str(n) for n in range(99)])) == MAX_FINDINGS
    assert findings_of("text", 999 * "x", {}, ("y",)) == (MAX_CHARACTERS * "x",)


def test_levels_lead_from_the_widest_to_the_findings():
    likeness = Likeness("7", "names", "diagnosis", "nih/diagnosis", ("Edema", "Mass"))
    assert likeness.levels == (
        ("form names",),
        ("family diagnosis",),
        ("pool nih/diagnosis",),
        ("finding nih/diagnosis: Edema", "finding nih/diagnosis: Mass"),
    )
