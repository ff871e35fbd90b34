import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.verdict_list import read_marked, read_verdicts

OPTIONS = option_set({"A": "Mass", "B": "Edema", "C": "Hernia"})


@pytest.mark.parametrize(
    "text, letters",
    [
        ("A: no; B: yes; C: no", "B"),
        ("Mass - absent\nEdema - present", "B"),
        ("A: yes; B: no; C: yes", "AC"),
        ("A: yes; B: yes; C: yes", ""),
        ("A: no; B: no; C: no", ""),
        ("B: yes; B: no", ""),
        ("A: no; B: perhaps", None),
        ("A: no", None),
        ("A, B", None),
    ],
)
def test_a_verdict_on_each_option(text, letters):
    found = read_verdicts(text, OPTIONS)
    assert (found and (found.value or ())) == (None if letters is None else tuple(letters))


@pytest.mark.parametrize(
    "text, letters",
    [
        ("A ❌ B ✅ C ❌", "B"),
        ("✅ A\n❌ B", "A"),
        ("A ✅ A ❌", ""),
        ("A ❌ B ❌", ""),
        ("A ✅❌", None),
        ("A ✅", None),
    ],
)
def test_a_mark_on_each_option(text, letters):
    found = read_marked(text, OPTIONS)
    assert (found and (found.value or ())) == (None if letters is None else tuple(letters))
