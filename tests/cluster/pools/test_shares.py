"""Batches and their shares."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.pools.shares import Batch, Failed, Share, cut


@given(st.lists(st.integers(), max_size=30), st.integers(1, 12))
def test_parts_are_contiguous_and_about_equal(items, count):
    parts = cut(items, count)
    assert [item for part in parts for item in part] == items
    assert len(parts) == count and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_batch_is_done_once_every_item_has_its_result():
    arrived = []
    batch = Batch("abc", send=lambda actor, items: None, arrived=arrived.append)
    batch.deliver(2, "C")
    assert not batch.done and batch.results == [None, None, "C"] and arrived == ["C"]
    batch.deliver(0, Failed("bad"))
    batch.deliver(1, "B")
    assert batch.done and batch.results == [Failed("bad"), "B", "C"] and arrived == ["C", "B"]
    assert Batch([], send=lambda actor, items: None).done


def test_what_is_left_of_a_share_are_the_items_without_a_result():
    batch = Batch("abcdef", send=lambda actor, items: None)
    share = Share(batch, [1, 3, 4], limit_s=9)
    assert share.items == ["b", "d", "e"]
    batch.deliver(3, "D")
    assert share.rest().items == ["b", "e"] and share.rest().limit_s == 9
