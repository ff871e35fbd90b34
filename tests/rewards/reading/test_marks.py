import pytest

from rewards.reading.marks import split_at_marks


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("Edema ✅ Mass ❌", ["Edema ✅", "Mass ❌"]),
        ("✅ Edema, ❌ Mass", ["✅ Edema", "❌ Mass"]),
        ("Edema ✅; Mass ❌", ["Edema ✅", "Mass ❌"]),
        ("Edema", ["Edema"]),
    ],
)
def test_a_mark_belongs_to_the_name_on_its_side(text, pieces):
    assert [piece.strip() for piece in split_at_marks(text)] == pieces
