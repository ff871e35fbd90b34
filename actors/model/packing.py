"""How samples are laid out for one forward: packed end to end in one row, or padded one a row. Pure functions.

A pack holds a prompt once for all of its responses, since what the model computes for the prompt is the same in each.
The last token of a response is only a target: the model need not read it, and it is not in a packed row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.trajectory import Sample

Positions = Callable[[Sample], np.ndarray]  # int [axes, prompt tokens]: the position ids of a sample's prompt


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a row, end to end. Each attends causally to itself; a response's also to all of its prompt's.

    Attributes:
        lengths: tokens of each segment.
        prompts: for a response's segment, the index in `lengths` of its prompt; None for a prompt.
    """

    lengths: tuple[int, ...]
    prompts: tuple[int | None, ...]

    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Which tokens the queries of each segment may see.

        Returns:
            (int64 [keys]: positions in the row, segment after segment, prompt first; int64 [segments]: keys of each).
        """
        starts = np.cumsum((0, *self.lengths))
        own = [np.arange(starts[i], starts[i + 1]) for i in range(len(self.lengths))]
        visible = []
        for i, prompt in enumerate(self.prompts):
            visible.append(own[i] if prompt is None else np.concatenate([own[prompt], own[i]]))
        return np.concatenate(visible), np.array([len(keys) for keys in visible])


@dataclass(frozen=True, slots=True)
class Layout:
    """The input of one forward.

    Attributes:
        index: the samples' indices in the list that was laid out, in the order of `where`.
        ids: int64 [rows, length].
        positions: int64 [axes, rows, length].
        mask: int64 [rows, length], 1 at tokens; None in a pack, which has no padding.
        segments: of a pack's one row; None if the samples are padded.
        images: the path of each image that the ids have placeholders for, in their order.
        where: int64 [response tokens]: the flat position in `ids` whose output predicts each response token.
        targets: int64 [response tokens].
    """

    index: tuple[int, ...]
    ids: np.ndarray
    positions: np.ndarray
    mask: np.ndarray | None
    segments: Segments | None
    images: tuple[str, ...]
    where: np.ndarray
    targets: np.ndarray


def by_prompt(samples: Sequence[Sample], index: Sequence[int]) -> list[list[int]]:
    """Groups the indices whose samples share prompt and images, in the order in which the prompts first occur."""
    groups: dict[tuple[tuple[str, ...], bytes], list[int]] = {}
    for i in index:
        groups.setdefault((samples[i].images, samples[i].prompt_ids.tobytes()), []).append(i)
    return list(groups.values())


def pack(samples: Sequence[Sample], index: Sequence[int], positions: Positions) -> Layout:
    """The samples at `index` in one row, a prompt once before all of its responses."""
    order: list[int] = []
    ids: list[np.ndarray] = []
    position_ids: list[np.ndarray] = []
    where: list[np.ndarray] = []
    lengths: list[int] = []
    prompts: list[int | None] = []
    images: list[str] = []
    end = 0  # of the row so far
    for group in by_prompt(samples, index):
        first = samples[group[0]]
        prompt = len(lengths)
        prompt_positions = positions(first)
        ids.append(first.prompt_ids)
        position_ids.append(prompt_positions)
        lengths.append(len(first.prompt_ids))
        prompts.append(None)
        images.extend(first.images)
        end += len(first.prompt_ids)
        last_of_prompt = end - 1
        for i in group:
            order.append(i)
            read = samples[i].response_ids[:-1]
            where.append(np.concatenate([[last_of_prompt], np.arange(end, end + len(read))]))
            if len(read):
                ids.append(read)
                position_ids.append(_positions_after(prompt_positions, len(read)))
                lengths.append(len(read))
                prompts.append(prompt)
                end += len(read)
    return Layout(
        index=tuple(order),
        ids=np.concatenate(ids).astype(np.int64)[None],
        positions=np.concatenate(position_ids, 1)[:, None],
        mask=None,
        segments=Segments(tuple(lengths), tuple(prompts)),
        images=tuple(images),
        where=np.concatenate(where),
        targets=np.concatenate([samples[i].response_ids for i in order]).astype(np.int64),
    )


def pad(samples: Sequence[Sample], index: Sequence[int], positions: Positions, pad_id: int) -> Layout:
    """The samples at `index`, one a row, filled up with `pad_id` on the right."""
    chosen = [samples[i] for i in index]
    width = max(map(len, chosen))
    prompt_positions: dict[int, np.ndarray] = {}
    for group in by_prompt(samples, index):
        prompt_positions.update(dict.fromkeys(group, positions(samples[group[0]])))
    axes = len(prompt_positions[index[0]])
    ids: np.ndarray = np.full((len(chosen), width), pad_id, np.int64)
    mask: np.ndarray = np.zeros((len(chosen), width), np.int64)
    grid: np.ndarray = np.zeros((axes, len(chosen), width), np.int64)
    where: list[np.ndarray] = []
    images: list[str] = []
    for row, (i, sample) in enumerate(zip(index, chosen, strict=True)):
        start, end = len(sample.prompt_ids), len(sample)
        ids[row, :start] = sample.prompt_ids
        ids[row, start:end] = sample.response_ids
        mask[row, :end] = 1
        grid[:, row, :start] = prompt_positions[i]
        grid[:, row, start:end] = _positions_after(prompt_positions[i], end - start)
        where.append(row * width + np.arange(start - 1, end - 1))
        images.extend(sample.images)
    return Layout(
        index=tuple(index),
        ids=ids,
        positions=grid,
        mask=mask,
        segments=None,
        images=tuple(images),
        where=np.concatenate(where),
        targets=np.concatenate([sample.response_ids for sample in chosen]).astype(np.int64),
    )


def _positions_after(prompt: np.ndarray, count: int) -> np.ndarray:
    """int [axes, count]: the positions of the text tokens that follow a prompt; the same on every axis."""
    return np.broadcast_to(prompt.max() + 1 + np.arange(count), (len(prompt), count))


# -- which samples go together -----------------------------------------------------------------------------------------


def share_out(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Distributes the indices of `costs` over `parts` lists of nearly equal sums.

    The largest cost goes first, each to the list with the smallest sum so far (Graham, "Bounds on multiprocessing
    timing anomalies", 1969: the largest sum is at most 4/3 of the best possible).
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        smallest = min(range(parts), key=lambda part: (sums[part], len(shares[part])))
        shares[smallest].append(i)
        sums[smallest] += costs[i]
    return shares


def packed_tokens(prompt: int, responses: Sequence[int]) -> int:
    """Tokens in the row of a prompt and its responses, from their lengths."""
    return prompt + sum(responses) - len(responses)


def cut_packed(
    samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int, min_packs: int = 1
) -> list[list[int]]:
    """Cuts the chosen samples into packs, as equal as possible.

    Responses to one prompt stay together if the budget allows.

    Args:
        samples: all samples.
        chosen: indices of those that are cut up.
        max_tokens: of a pack; a pack of one sample may exceed it.
        min_packs: minimum number of packs, if there are enough samples.

    Returns:
        The indices in each pack.
    """
    units = by_prompt(samples, chosen)
    if not units:
        return []
    if len(units) < min_packs:
        units = [[i] for i in chosen]
    else:
        units = [piece for unit in units for piece in _split_prompt(samples, unit, max_tokens)]
    packs = _fill([_unit_tokens(samples, unit) for unit in units], max_tokens, min_packs)
    return [[i for u in pack for i in units[u]] for pack in packs]


def _split_prompt(samples: Sequence[Sample], unit: Sequence[int], max_tokens: int) -> list[list[int]]:
    """The samples of one prompt, in pieces that fit into a pack with their prompt."""
    read = [len(samples[i].response_ids) - 1 for i in unit]
    pieces = _fill(read, max_tokens - len(samples[unit[0]].prompt_ids))
    return [[unit[n] for n in piece] for piece in pieces]


def _unit_tokens(samples: Sequence[Sample], unit: Sequence[int]) -> int:
    """Tokens in the row of samples that share a prompt."""
    return packed_tokens(len(samples[unit[0]].prompt_ids), [len(samples[i].response_ids) for i in unit])


def _fill(costs: Sequence[int], max_cost: int, min_lists: int = 1) -> list[list[int]]:
    """Distributes the indices of `costs` with `share_out` over the fewest lists of at most `max_cost` or one item."""
    lower_bound = -(-sum(costs) // max(max_cost, 1))
    for parts in range(max(min_lists, lower_bound, 1), len(costs)):
        shares = share_out(costs, parts)
        if all(len(share) == 1 or sum(costs[i] for i in share) <= max_cost for share in shares):
            return shares
    return [[i] for i in range(len(costs))]


def cut_padded(samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cuts the chosen samples into batches, longest first.

    Samples of the same images stay together if their lengths allow.

    Args:
        samples: all samples.
        chosen: indices of those that are cut up.
        max_tokens: of a batch (samples × longest); a batch of one sample may exceed it.

    Returns:
        The indices in each batch.
    """
    longest: dict[tuple[str, ...], int] = {}
    for i in chosen:
        longest[samples[i].images] = max(longest.get(samples[i].images, 0), len(samples[i]))
    cuts: list[list[int]] = []
    width = 0
    for i in sorted(chosen, key=lambda i: (-longest[samples[i].images], samples[i].images, i)):
        wider = max(width, len(samples[i]))
        if not cuts or wider * (len(cuts[-1]) + 1) > max_tokens:
            cuts.append([])
            wider = len(samples[i])
        cuts[-1].append(i)
        width = wider
    return cuts
