"""Talk that no film supports."""

import pytest

from rewards.traces.talk import talk_in


@pytest.mark.parametrize(
    "text, kind",
    [
        ("The effusion has increased.", "prior"),
        ("Unchanged cardiomegaly.", "prior"),
        ("A new nodule.", "prior"),
        ("A mass, increased in size.", "prior"),
        ("Increased right base atelectasis.", "prior"),
        ("Remaining obliteration of the sinus.", "prior"),
        ("Streaky opacities decreased.", "prior"),
        ("Larger than on the last film.", "prior"),
        ("No interval change.", "prior"),
        ("The atelectasis persists.", "prior"),
        ("According to the report, there is an effusion.", "report"),
        ("As described above.", "report"),
        ("The impression mentions a mass.", "report"),
        ("Status post sternotomy.", "report"),
        ("The gold label is B.", "report"),
        ("CT is recommended.", "advice"),
        ("Clinical correlation; please repeat.", "advice"),
        ("Discussed with the team.", "advice"),
        ("The left knee is normal.", "elsewhere"),
        ("Film of 3/4/2012.", "identifier"),
        ("Seen on March 4.", "identifier"),
        ("Dr. Smith", "identifier"),
        ("A 64-year-old with cough", "identifier"),
        ("No XXXX effusion", "identifier"),
        ("___ effusion", "identifier"),
        ("Accession 12345678", "identifier"),
        ("At 10:30 PM", "identifier"),
    ],
)
def test_it_is_found(text, kind):
    assert kind in talk_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Increased interstitial markings in both bases.",
        "Degenerative changes of the spine. Emphysematous changes.",
        "No atelectatic change is seen.",
        "The tube ends 4.7 cm above the carina.",
        "A 1.5 cm nodule in the right upper lobe.",
        "The heart is enlarged, and both costophrenic angles are blunted.",
        "Old healed rib fractures on the right.",
        "The remaining lungs are clear.",
        "Pulmonary edema, greater on the right than on the left.",
        "No pneumothorax may hide in this apex.",
    ],
)
def test_what_one_film_shows_is_no_such_talk(text):
    assert talk_in(text) == {}
