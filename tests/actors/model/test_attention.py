"""Attention inside segments and windows against a softmax over the whole row with a mask."""

import pytest
import torch

from actors.model.attention import RowSegments, packed_attention, window_attention
from actors.model.packing import Segments

HEADS, SIZE = 4, 16


def heads(number, tokens):
    return torch.randn(1, number, tokens, SIZE, dtype=torch.float64)


def masked(query, key, value, mask):
    """[1, tokens, heads, head size], every head of keys serving as many of the queries."""
    repeat = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    scores = (query @ key.mT * SIZE**-0.5).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def test_a_response_sees_its_prompt_and_itself_up_to_each_token():
    torch.manual_seed(0)
    segments = Segments(lengths=(5, 3, 9, 1, 4, 2), prompts=(None, 0, 0, 0, None, 4))
    total = sum(segments.lengths)
    starts = [sum(segments.lengths[:i]) for i in range(len(segments.lengths))]
    mask = torch.zeros(total, total, dtype=torch.bool)
    for i, (start, length) in enumerate(zip(starts, segments.lengths, strict=True)):
        prompt = segments.prompts[i]
        for token in range(start, start + length):
            mask[token, start : token + 1] = True
            if prompt is not None:
                mask[token, starts[prompt] : starts[prompt] + segments.lengths[prompt]] = True
    query, key, value = heads(HEADS, total), heads(2, total), heads(2, total)
    row = RowSegments(segments, torch.device("cpu"))
    ours, _ = packed_attention(None, query, key, value, None, SIZE**-0.5, row)
    torch.testing.assert_close(ours, masked(query, key, value, mask))


@pytest.mark.parametrize("lengths", [(4, 4, 4), (1, 7, 4)])
def test_a_token_sees_its_whole_window_and_no_other(lengths):
    torch.manual_seed(0)
    total = sum(lengths)
    window = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    query, key, value = (heads(HEADS, total) for _ in range(3))
    borders = torch.tensor((0, *lengths)).cumsum(0).int()
    ours, _ = window_attention(None, query, key, value, None, SIZE**-0.5, borders, max(lengths))
    torch.testing.assert_close(ours, masked(query, key, value, window[:, None] == window))


def test_the_gpu_kernel_gets_the_borders_of_queries_and_keys():
    row = RowSegments(Segments(lengths=(3, 2, 1), prompts=(None, 0, 0)), torch.device("cpu"))
    assert row.query_borders.tolist() == [0, 3, 5, 6] and row.key_borders.tolist() == [0, 3, 8, 12]
    assert row.keys.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 5]
    assert (row.max_queries, row.max_keys) == (3, 5) and row.query_borders.dtype == torch.int32


def test_a_padded_batch_is_refused_by_a_model_that_packs():
    with pytest.raises(ValueError, match="loaded with packed=False"):
        packed_attention(None, heads(1, 2), heads(1, 2), heads(1, 2), None)
