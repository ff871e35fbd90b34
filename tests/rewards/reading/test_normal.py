import pytest

from rewards.reading.normal import is_normal, normality


@pytest.mark.parametrize(
    "statement, said",
    [
        ("Normal chest X-ray", "film"),
        ("No abnormality is seen.", "film"),
        ("No acute cardiopulmonary process", "part"),
        ("Otherwise normal", "part"),
        ("The lungs are clear", "part"),
        ("Heart size within normal limits", "part"),
        ("none", "film"),
        ("Abnormal chest", ""),
        ("not normal", ""),
        ("Clear abnormality", ""),
        ("Abnormality, no disease", ""),
        ("Normal chest, mass", ""),
        ("Normal ❌", ""),
        ("not No finding", ""),
        ("", ""),
        ("normal " * 100, ""),
    ],
)
def test_what_a_statement_says_of_the_film(statement, said):
    assert normality(statement) == said


def test_every_statement_of_a_text_must_say_so():
    assert is_normal("Lungs are clear. Normal heart.") and not is_normal("Lungs are clear. Mass.") and not is_normal("")
