from hypothesis import given
from hypothesis import strategies as st

from actors.rules.batches import judge_in_batches


def half(items):
    """A judge that cannot take a negative number, and loses a zero."""
    if any(item < 0 for item in items):
        raise ValueError(f"{min(items)} is negative")
    return [item / 2 for item in items if item]


@given(st.lists(st.integers(-3, 9), max_size=30), st.integers(1, 8))
def test_each_has_its_value_or_its_own_error_whatever_the_batches(items, size):
    sizes = []

    def judge(batch):
        sizes.append(len(batch))
        return half(batch)

    values = judge_in_batches(judge, items, size)
    assert len(values) == len(items) and max(sizes, default=0) <= size
    for item, value in zip(items, values, strict=True):
        if item > 0:
            assert value == item / 2
        else:
            assert str(value) == (f"{item} is negative" if item else "0 values for 1 texts")


def test_an_error_that_a_judge_gives_in_place_of_a_value_stays():
    error = ValueError("no")
    calls = []
    assert judge_in_batches(lambda batch: calls.append(batch) or [0.5, error], "ab", 2) == [0.5, error]
    assert calls == ["ab"]
