import pytest

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
