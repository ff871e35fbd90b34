import pytest

from rewards.reading.groups import heading_of, is_remark


@pytest.mark.parametrize(
    "text, group",
    [
        ("Absent: edema", "absent"),
        ("Pertinent negatives: edema", "absent"),
        ("Negative findings:", "absent"),
        ("Ruled out: edema", "absent"),
        ("Normal findings: bones", "absent"),
        ("Possible: edema", "uncertain"),
        ("Differential diagnosis: edema", "uncertain"),
        ("Present: edema", "present"),
        ("Positive findings: edema", "present"),
        ("Edema: absent", None),
        ("Absent edema", None),
        ("", None),
    ],
)
def test_a_heading_begins_a_group(text, group):
    found = heading_of(text)
    assert (found and found[0]) == group
    assert not found or found[1] == text.partition(":")[2]


@pytest.mark.parametrize(
    "name, is_one",
    [
        ("Clinical correlation is recommended", True),
        ("Recommend echocardiography", True),
        ("likely due to heart failure", True),
        ("These findings suggest heart failure", True),
        ("There is an edema of the lung", False),  # it names a finding
        ("suggestive of edema", False),
        ("unicorn sign", False),
        ("recommend", False),
    ],
)
def test_a_remark_names_nothing(name, is_one):
    assert is_remark(name) == is_one
