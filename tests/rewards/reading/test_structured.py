import pytest

from rewards.reading.structured import read_json, without_tables


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"answer": "B", "explanation": "haze"}', ("B", "haze")),
        ('{"Final_Answer": "B", "confidence": 0.9}', ("B", "")),
        ('```json\n{"findings": ["Edema", "Mass"]}\n```', ("Edema, Mass", "")),
        ('{"findings": []}', ("No finding", "")),
        ("[]", ("No finding", "")),
        ('{"present": ["Edema"], "absent": ["Mass"]}', ("present: Edema\nabsent: Mass", "")),
        ('{"answer": "B", "choice": "C"}', None),
        ('{"answer": "B", "question": "Which?"}', None),
        ('{"answer": 3}', None),
        ("{}", None),
        ('["Edema"]', None),
        ("{B}", None),
        ("[" * 900, None),
        ("B", None),
    ],
)
def test_an_answer_in_json(text, said):
    assert read_json(text) == said


def test_rows_of_a_table_become_lines():
    table = "| Finding | Present |\n|:---|---:|\n| Edema | Yes |\n| Mass | No |\n\nThat is all."
    assert without_tables(table) == "Edema: Yes\nMass: No\n\nThat is all."


@pytest.mark.parametrize("text", ["Edema | Mass", "a -- b", "| Edema |\n", "|---|", "", "| " * 2_000 + "--"])
def test_text_without_a_table_stays(text):
    assert without_tables(text).replace("\n", "") in (text.replace("\n", ""), "")
