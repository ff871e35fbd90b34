from rewards.findings.entry import Entry
from rewards.findings.mention import Mention
from rewards.findings.phrases import Event


def test_a_cue_decides_and_the_mention_says_so():
    entry = Entry("Edema", None, 1, (1, 2), (0, 3), None, "prior", {"side": "left", "severity": "mild"})
    entry.judge("absent", Event("resolved", "", 2, 3))
    assert (entry.rule, entry.mention) == ("resolved", Mention("Edema", "absent", "left", "mild"))


def test_an_earlier_finding_can_become_one_of_this_film_and_a_supposed_one_only_a_possible_one():
    earlier = Entry("Edema", None, 0, (0, 1), (0, 1), None, "prior")
    supposed = Entry("Edema", None, 0, (0, 1), (0, 1), None, "hypothetical")
    assert earlier.can_become("present") and earlier.can_become("absent")
    assert supposed.can_become("uncertain") and not supposed.can_become("present")
