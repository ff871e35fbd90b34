"""How samples are laid out and shared out: pure functions."""

from itertools import chain, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.model.packing import cut_packed, cut_padded, pack, pad, share_out
from actors.trajectory import Sample

lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), min_size=1, max_size=40)


def made(shapes):
    """Samples of (which prompt, response tokens); prompt p has 3 + 5 p tokens."""
    return [
        Sample(np.arange(3 + 5 * p, dtype=np.int32), (f"{p}.png",), np.full(n, 100 + i, np.int32))
        for i, (p, n) in enumerate(shapes)
    ]


def positions(sample):
    return np.stack([np.arange(len(sample.prompt_ids)) // divisor for divisor in (1, 2, 3)])


@given(st.lists(st.integers(1, 1000), max_size=60), st.integers(1, 9))
def test_shares_are_whole_and_nearly_equal(costs, parts):
    shares = share_out(costs, parts)
    assert len(shares) == parts and sorted(chain.from_iterable(shares)) == list(range(len(costs)))
    sums = [sum(costs[i] for i in share) for share in shares]
    assert max(sums) - min(sums) <= max(costs, default=0)  # no part could be relieved by its last item
    assert max(sums) <= (4 * parts - 1) / (3 * parts) * max([*costs, sum(costs)]) or parts > 1  # one part takes all
    if len(costs) >= parts:
        assert min(sums) > 0


def test_shares_of_equal_costs_are_equal():
    assert [len(share) for share in share_out([7] * 12, 4)] == [3] * 4
    assert sorted(sum([[9, 8, 7, 3, 2, 1][i] for i in share]) for share in share_out([9, 8, 7, 3, 2, 1], 3)) == [
        10,
        10,
        10,
    ]


@given(lengths, st.integers(1, 200), st.integers(1, 12))
def test_packs_hold_every_sample_once_within_the_budget(shapes, budget, least):
    samples = made(shapes)
    chosen = list(range(len(samples)))[::-1]
    cuts = cut_packed(samples, chosen, budget, least)
    assert sorted(chain.from_iterable(cuts)) == sorted(chosen) and all(cuts)
    assert len(cuts) >= min(least, len(samples))
    sizes = [pack(samples, cut, positions).ids.size for cut in cuts]
    assert all(size <= budget or len(cut) == 1 for size, cut in zip(sizes, cuts, strict=True))
    if budget >= sum(map(len, samples)):
        assert len(cut_packed(samples, chosen, budget)) == 1
    assert cut_packed(samples, [], budget, least) == []


@given(lengths, st.integers(1, 400))
def test_padded_batches_hold_every_sample_once_within_the_budget(shapes, budget):
    samples = made(shapes)
    cuts = cut_padded(samples, range(len(samples)), budget)
    assert sorted(chain.from_iterable(cuts)) == list(range(len(samples)))
    widths = [max(len(samples[i]) for i in cut) for cut in cuts]
    assert all(width * len(cut) <= budget or len(cut) == 1 for width, cut in zip(widths, cuts, strict=True))
    for cut, following in pairwise(cuts):  # no cut was needless: the next one's first sample did not fit
        assert max(len(samples[i]) for i in (*cut, following[0])) * (len(cut) + 1) > budget


@given(lengths)
def test_a_pack_and_padded_rows_ask_for_the_same_tokens_at_the_same_positions(shapes):
    samples = made(shapes)
    packed, padded = pack(samples, range(len(samples)), positions), pad(samples, range(len(samples)), positions, 9999)
    assert sorted(packed.index) == list(padded.index)
    keys, counts = packed.segments.keys()
    seen = np.split(keys, np.cumsum(counts)[:-1])
    starts = np.cumsum((0, *packed.segments.lengths))
    segment = np.repeat(np.arange(len(packed.segments.lengths)), packed.segments.lengths)
    place = 0
    for i in packed.index:
        sample = samples[i]
        whole = np.concatenate([sample.prompt_ids, sample.response_ids])
        for n in range(len(sample.response_ids)):
            at, length = packed.where[place], len(sample.prompt_ids) + n
            mine = seen[segment[at]][: counts[segment[at]] - (starts[segment[at] + 1] - at - 1)]  # up to itself
            assert (packed.ids[0, mine] == whole[:length]).all()
            assert (packed.positions[:, 0, mine] == padded.positions[:, i, :length]).all()
            assert packed.targets[place] == whole[length]
            place += 1
    flat = padded.ids.reshape(-1)
    assert place == len(packed.targets) == len(padded.targets) and (flat[padded.where + 1] == padded.targets).all()
    assert packed.ids.size == len(packed.positions[0, 0]) == sum(packed.segments.lengths)
