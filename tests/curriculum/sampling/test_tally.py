import json

from curriculum.sampling.expectations import Expectations
from curriculum.sampling.likeness import Likeness
from curriculum.sampling.tally import MAX_ROWS, OTHERS, Tally


def likeness(*findings, family="diagnosis"):
    return Likeness("a", "names", family, family, findings)


def test_rows_say_what_was_offered_drawn_and_flat_by_family_and_finding():
    tally, expectations = Tally(), Expectations()
    tally.choice("open", [likeness("Edema"), likeness("Mass", "Edema"), likeness("Mass")], 1)
    tally.choice("open", [likeness("Edema"), likeness("Mass")], 0)
    tally.choice("open", [likeness("Yes", family="binary")], 0)
    for task, outcomes in ((likeness("Mass", "Edema"), [1, 1]), (likeness("Edema"), [1, 0])):
        expectations.observe(task, outcomes, 3)
        tally.group("open", task, outcomes == [1, 1], expectations)
    edema, mass, yes = tally.rows("open")
    assert (edema["family"], edema["finding"], edema["offered"], edema["drawn"]) == ("diagnosis", "Edema", 3, 2)
    assert (edema["offered_share"], edema["drawn_share"], edema["flat_share"]) == (0.5, 2 / 3, 0.5)
    assert (mass["groups"], mass["flat_share"], mass["pass_rate"]) == (1, 1.0, 1.0)
    assert edema["pass_rate"] == 2 / 3  # the group of two findings counts half for each
    assert (yes["offered_share"], yes["flat_share"], yes["pass_rate"]) == (1.0, None, None)
    assert tally.rows("closed") == [] and len(tally.rows("open", limit=1)) == 1
    restored = Tally()
    restored.load_state_dict(json.loads(json.dumps(tally.state_dict())))
    assert restored.rows("open") == tally.rows("open")


def test_findings_without_end_are_counted_together():
    tally = Tally()
    for n in range(MAX_ROWS + 50):
        tally.choice("open", [likeness(str(n))], 0)
    rows = {row["finding"]: row for row in tally.rows("open", limit=9999)}
    assert len(rows) == MAX_ROWS + 1 and rows[OTHERS]["drawn"] == 50
