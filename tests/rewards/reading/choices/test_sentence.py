import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.sentence import read_sentence

OPTIONS = option_set({"A": "Mass", "B": "Pleural effusion", "C": "No finding"})


@pytest.mark.parametrize(
    "text, letters, reason",
    [
        ("There is an effusion.", "B", None),
        ("The film shows an effusion and no mass.", "B", None),
        ("The lungs are clear.", "C", None),
        ("No mass and no effusion.", "C", None),
        ("No mass.", "", "has words that fit no option"),
        ("There may be an effusion.", "", "hedges"),
        ("Is there an effusion?", "", "asks a question"),
        ("There is an effusion. There is no effusion.", "", "contradicts itself"),
        ("There is edema.", "", "has words that fit no option"),
        ("A large effusion is seen.", "", "has words that fit no option"),  # a letter or an article
        ("There is an effusion. " * 20, "", "has words that fit no option"),
    ],
)
def test_the_option_that_a_sentence_asserts(text, letters, reason):
    found = read_sentence(text, OPTIONS)
    assert found.value == (tuple(letters) or None) and found.unread == reason
