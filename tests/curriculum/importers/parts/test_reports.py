import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum.importers.parts.reports import sections

REPORT = """                                 WET READ: ___ ___ 8:04 PM
 No acute process.
 ______________________________________________________________________________
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval for
 pneumonia

 COMPARISON:  ___

 FINDINGS:

 The heart is enlarged.  There is no
 effusion.

 IMPRESSION:

 1. Cardiomegaly.
"""


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            REPORT,
            {
                "examination": "CHEST (PA AND LAT)",
                "indication": "___F with cough // eval for pneumonia",
                "findings": "The heart is enlarged. There is no effusion.",
                "impression": "1. Cardiomegaly.",
            },
        ),
        (
            "FINAL REPORT\n CHEST RADIOGRAPH\n\n HISTORY: Fall.\n\n FINDINGS AND IMPRESSION: No fracture since ___.\n",
            {"": "CHEST RADIOGRAPH", "indication": "Fall.", "impression": "No fracture since ___."},
        ),
        ("The lungs are clear: no effusion.\nHeart normal.", {"": "The lungs are clear: no effusion. Heart normal."}),
        ("FINDINGS:\n\nIMPRESSION: Note: clear.", {"impression": "Note: clear."}),
        ("FINDINGS: Chest clear.\nFINDINGS: Ribs intact.", {"findings": "Chest clear. Ribs intact."}),
        ("", {}),
    ],
)
def test_sections_of_a_report(text, expected):
    assert sections(text) == expected


BOTH = {"findings": "Heart is big.", "impression": "Cardiomegaly."}


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS :\nHeart is big.\nIMPRESION: Cardiomegaly.",
        "Findings: Heart is big.\nImpression: Cardiomegaly.",
        "findings: Heart is big.\nimpression: Cardiomegaly.",
        "FINDINGS\nHeart is big.\n\nCONCLUSIONS\nCardiomegaly.",
        "FINDINGS:Heart is big.\nIMPRESSION:Cardiomegaly.",
        "FINDINGS: Heart is big. IMPRESSION: Cardiomegaly.",
        "FINDNGS: Heart is big.\nIMPRSSION: Cardiomegaly.",
        "FIDINGS:  Heart is big.\nIMPRESSIONS:\nCardiomegaly.",
        "FINDING: Heart is big.\nCONCULSION: Cardiomegaly.",
        "**FINDINGS:** Heart is big.\n**IMPRESSION:** Cardiomegaly.",
        "## Findings\nHeart is big.\n## Impression\nCardiomegaly.",
        "FINDINGS - Heart is big.\nIMPRESSION - Cardiomegaly.",
        "FINDINGS： Heart is big.\nIMPRESSION：Cardiomegaly.",
        "Findings :\r\nHeart is big.\r\nImpression :\r\nCardiomegaly.\r\n",
        "\ufeffFINDINGS: Heart is big.\nOPINION: Cardiomegaly.",
        "\tFINDINGS:\n\tHeart is big.\n\tInterpretation:\n\tCardiomegaly.",
    ],
)
def test_headings_as_people_write_them(text):
    assert sections(text) == BOTH


MERGED = [
    *("FINDINGS/IMPRESSION", "Findings/Impression", "FINDINGS / IMPRESSION", "Findings & Impression"),
    *("FINDINGS AND IMPRESSION", "IMPRESSION AND FINDINGS"),
]


@pytest.mark.parametrize("heading", MERGED)
def test_merged_sections_are_the_impression(heading):
    assert sections(f"{heading}: Clear.") == {"impression": "Clear."}


@pytest.mark.parametrize(
    "text",
    [
        "He has a\nhistory of cancer.",
        "Given the clinical\nhistory: fall.",
        "This is my\nimpression of the film.",
        "Findings suggest edema.",
        "Heart: big.",
        "No change. Findings are stable.",
        "Mass at the T12\nlevel: benign.",
    ],
)
def test_sentences_are_no_headings(text):
    assert sections(text) == {"": " ".join(text.split())}


def test_parts_of_the_body_are_no_sections():
    text = "FINDINGS:\nLUNGS: Clear.\nHEART: Big.\nBONES: Intact.\nIMPRESSION: Cardiomegaly."
    expected = {"findings": "LUNGS: Clear. HEART: Big. BONES: Intact.", "impression": "Cardiomegaly."}
    assert sections(text) == expected


@pytest.mark.parametrize(
    "mark", ["XXXX", "___.", "[**Hospital 1**]", "1. XXXX", "N/A", "[**2101-3-4**] ___", "nan", "<removed>"]
)
def test_a_section_of_marks_only_is_no_section(mark):
    assert sections(f"FINDINGS: {mark}\nIMPRESSION: Clear since ___.") == {"impression": "Clear since ___."}


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("FINDGS IMPRESO:\n.-_*[]X\ud83d\0：")))
def test_any_text_has_sections(text):
    for name, body in sections(text).items():
        assert name == name.lower() and body.strip() and "\n" not in body
