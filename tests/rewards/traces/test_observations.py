"""Sentences of reports as observations of one film."""

import pytest

from rewards.traces.observations import film_text, observations, observe


@pytest.mark.parametrize(
    "sentence, observed",
    [
        ("The lungs are clear", "The lungs are clear."),
        ("Stable mild cardiomegaly", "Mild cardiomegaly."),
        ("The heart remains enlarged compared to the prior study of ___", "The heart is enlarged."),
        ("Small left pleural effusion, unchanged since yesterday", "Small left pleural effusion."),
        ("Compared to the prior film, there is a small right effusion", "There is a small right effusion."),
        ("Right basilar atelectasis, recommend follow-up CT", "Right basilar atelectasis."),
        ("There is again noted a large hiatal hernia", "There is noted a large hiatal hernia."),
        ("The right effusion is unchanged", "The right effusion is seen."),
        ("Fullness of the left hilum appears unchanged", "Fullness of the left hilum is seen."),
        ("The opacities look stable", "The opacities are seen."),
        ("1. Cardiomegaly (previously described)", "Cardiomegaly."),
        ("PLEURA: No pleural effusion or pneumothorax", "No pleural effusion or pneumothorax."),
        ("BIBASILAR ATELECTASIS WITH NG TUBE", "Bibasilar atelectasis with NG tube."),
        ("There is a 1.2 cm nodule in the right upper lobe", "There is a 1.2 cm nodule in the right upper lobe."),
        ("Mild degenerative changes of the thoracic spine", "Mild degenerative changes of the thoracic spine."),
    ],
)
def test_what_no_film_shows_is_taken_out(sentence, observed):
    observation = observe(sentence)
    assert observation is not None and observation.text == observed


@pytest.mark.parametrize(
    "sentence",
    [
        "The effusion has increased",
        "Interval resolution of the left effusion",
        "Hila and Mediastinum:",  # a structured report's heading
        "Heart size appears stable",
        "Heart size is unchanged",  # what is left of it would say nothing
        "There are XXXX of a pleural effusion",
        "Recommend CT for further evaluation of the nodule",
        "Findings were discussed with Dr. Smith at 10:30",
        "Nodule as seen on CT of 3/4/2012",
        "History of pneumonia",
        "PA and lateral views were obtained",
        "Severe joint space narrowing of the left knee",
        "",
    ],
)
def test_other_sentences_are_dropped(sentence):
    assert observe(sentence) is None


def test_a_part_never_says_something_else_than_the_whole():
    """Without "No", the second part would assert an effusion."""
    observation = observe("No pneumothorax, effusion, or change since the prior study")
    assert observation is None or {mention.status for mention in observation.mentions} == {"absent"}


def test_only_sections_about_the_film_count():
    report = (
        "FINAL REPORT\nINDICATION: Rule out pneumonia.\n\nCOMPARISON: Chest film of ___.\n\nTECHNIQUE: AP view.\n\n"
        "FINDINGS: There is a small left\npleural effusion. No pneumothorax.\n\nIMPRESSION:\n1. Small left effusion.\n"
        "2. No pneumothorax.\n\nNOTIFICATION: Told to Dr. X."
    )
    assert "pneumonia" not in film_text(report)
    assert [observation.text for observation in observations(report)] == [
        "There is a small left pleural effusion.",
        "No pneumothorax.",
        "Small left effusion.",
    ]
