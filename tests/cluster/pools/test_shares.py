"""Batches and their shares."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.pools.shares import Batch, Failed, cut


@given(st.lists(st.integers(), max_size=30), st.integers(1, 12))
def test_parts_are_contiguous_and_about_equal(items, count):
    parts = cut(items, count)
    assert [item for part in parts for item in part] == items
    assert len(parts) == count and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_batch_is_done_once_every_item_has_its_result():
    batch = Batch("abcd", send=lambda actor, items: None)
    batch.deliver(2, ["C", "D"])
    assert not batch.done and batch.results == [None, None, "C", "D"]
    batch.deliver(0, [Failed("bad")])
    batch.deliver(1, ["B"])
    assert batch.done and batch.results == [Failed("bad"), "B", "C", "D"]
    assert Batch([], send=lambda actor, items: None).done
