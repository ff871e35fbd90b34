"""Where a report stands on findings."""

import pytest

from rewards.traces.film import NOT_READ, SAYS_NOTHING, Film


@pytest.mark.parametrize(
    "report, finding, stance",
    [
        ("Small left effusion.", "Effusion", "present"),
        ("No effusion.", "Effusion", "absent"),
        ("Heart size is normal.", "Cardiomegaly", "absent"),
        ("Possible pneumonia.", "Pneumonia", "open"),
        ("No effusion. Small left effusion may be there.", "Effusion", "open"),
        ("Right basal opacity.", "Pneumonia", "open"),  # it is no pneumonia for sure only if the report says so
        ("Right basal opacity.", "Mass", "silent"),
        ("Hydropneumothorax.", "Effusion", "present"),  # as a kind of it
        ("", "Mass", "silent"),
    ],
)
def test_stance(report, finding, stance):
    assert Film(report).stance(finding) == stance


def test_the_most_telling_sentence_comes_first():
    film = Film("Effusion and atelectasis. There is a small left pleural effusion. No mass. Effusion.")
    assert [observation.text for observation in film.supports("Effusion", True)] == [
        "There is a small left pleural effusion.",
        "Effusion.",
        "Effusion and atelectasis.",
    ] or film.supports("Effusion", True)[0].text == "There is a small left pleural effusion."
    assert film.supports("Effusion", False) == [] and film.supports("Mass", False)[0].text == "No mass."
    mention = film.mention_of("Effusion")
    assert mention is not None and (mention.side, mention.severity) == ("left", "mild")


def test_normal_observations_are_normal():
    film = Film("Lungs are clear. Old rib fractures. Degenerative changes of the spine. No effusion. Small nodule.")
    assert [observation.text for observation in film.normal_observations] == ["Lungs are clear.", "No effusion."]


def test_a_sign_leaves_its_finding_open():
    assert Film("The left costophrenic angle is blunted.").stance("Effusion") == "open"
    assert Film("The left costophrenic angle is blunted. No effusion.").stance("Effusion") == "absent"


def test_what_an_answer_misses():
    film = Film("Large hiatal hernia. Small left effusion. Granuloma. Right lower lobe collapse.")
    assert film.missed_by(["Hernia", "Atelectasis"]) == "Effusion"
    assert film.missed_by(["Hernia", "Effusion", "Atelectasis"]) == ""  # a granuloma is none of the fourteen
    assert film.missed_by(["Hernia", "Effusion", "Lung Opacity"]) == ""  # its kind
    assert film.missed_by(["Hernia", "Effusion", "Pneumonia"]) == "Atelectasis"  # both are opacities


@pytest.mark.parametrize(
    "report, fault",
    [
        ("No se observan infiltrados ni derrame pleural. Silueta cardiaca normal.", NOT_READ),
        ("FINDINGS: The tube.", SAYS_NOTHING),
        ("Clear lungs.", ""),
        ("", ""),
    ],
)
def test_a_report_from_which_nothing_can_be_learnt(report, fault):
    assert Film(report).fault == fault
