"""Where a report stands on findings."""

import pytest

from rewards.traces.film import Film


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
