"""How samples are laid out for one forward: packed end to end in one row, or padded side by side. Pure.

A pack holds a prompt once for all of its responses: what the model computes for the prompt is the same in each of them.
A response's last token is a target only; the model need not read it, and it is not in the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.trajectory import Sample

Positions = Callable[[Sample], np.ndarray]  # int [axes, prompt tokens]: position ids of a sample's prompt


@dataclass(frozen=True, slots=True)
class Segments:
    """The stretches of a row, end to end: each attends causally to itself, a response's to all of its prompt's before that.

    Attributes:
        lengths: tokens of each.
        prompts: for each, the place in `lengths` of the prompt that it follows; None where it is a prompt itself.
    """

    lengths: tuple[int, ...]
    prompts: tuple[int | None, ...]

    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """(int64 [keys]: which token of the row each segment's queries may see, prompt first, segments one after another;
        int64 [segments]: how many each sees)."""
        starts = np.cumsum((0, *self.lengths))
        own = [np.arange(starts[i], starts[i + 1]) for i in range(len(self.lengths))]
        seen = [own[i] if p is None else np.concatenate([own[p], own[i]]) for i, p in enumerate(self.prompts)]
        return np.concatenate(seen), np.array([len(part) for part in seen])


@dataclass(frozen=True, slots=True)
class Layout:
    """One forward's input.

    Attributes:
        index: the samples' places in the list that was laid out, in the order of `where`.
        ids: int64 [rows, length].
        positions: int64 [axes, rows, length].
        mask: int64 [rows, length], 1 where a token is; None in a pack, which has no padding.
        segments: of a pack's one row; None where samples are padded.
        images: the path of each image that the ids have placeholders for, in their order.
        where: int64 [response tokens]: the flat place in `ids` whose output predicts each response token.
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
    """The places in `index`, those with the same prompt and images together, in the order of their first."""
    groups: dict[tuple, list[int]] = {}
    for i in index:
        groups.setdefault((samples[i].images, samples[i].prompt_ids.tobytes()), []).append(i)
    return list(groups.values())


def pack(samples: Sequence[Sample], index: Sequence[int], positions: Positions) -> Layout:
    """The samples in one row, a prompt once before all of its responses."""
    order, ids, places, where, lengths, prompts, images = [], [], [], [], [], [], []
    end = 0
    for group in by_prompt(samples, index):
        first = samples[group[0]]
        prompt, place = len(lengths), positions(first)
        ids.append(first.prompt_ids)
        places.append(place)
        lengths.append(len(first.prompt_ids))
        prompts.append(None)
        images.extend(first.images)
        end += lengths[-1]
        last = end - 1
        for i in group:
            order.append(i)
            read = samples[i].response_ids[:-1]
            where.append(np.concatenate([[last], np.arange(end, end + len(read))]))
            if len(read):
                ids.append(read)
                places.append(np.broadcast_to(place.max() + 1 + np.arange(len(read)), (len(place), len(read))))
                lengths.append(len(read))
                prompts.append(prompt)
                end += len(read)
    return Layout(
        index=tuple(order),
        ids=np.concatenate(ids).astype(np.int64)[None],
        positions=np.concatenate(places, 1)[:, None],
        mask=None,
        segments=Segments(tuple(lengths), tuple(prompts)),
        images=tuple(images),
        where=np.concatenate(where),
        targets=np.concatenate([samples[i].response_ids for i in order]).astype(np.int64),
    )


def pad(samples: Sequence[Sample], index: Sequence[int], positions: Positions, pad_id: int) -> Layout:
    """One row a sample, filled up with `pad_id` on the right."""
    chosen = [samples[i] for i in index]
    width = max(map(len, chosen))
    ids = np.full((len(chosen), width), pad_id, np.int64)
    mask = np.zeros((len(chosen), width), np.int64)
    places = {
        i: place for group in by_prompt(samples, index) for place in [positions(samples[group[0]])] for i in group
    }
    grid = np.zeros((len(places[index[0]]), len(chosen), width), np.int64)
    for row, (i, sample) in enumerate(zip(index, chosen, strict=True)):
        place = places[i]
        start, end = len(sample.prompt_ids), len(sample)
        ids[row, :start], ids[row, start:end] = sample.prompt_ids, sample.response_ids
        mask[row, :end] = 1
        grid[:, row, :start] = place
        grid[:, row, start:end] = place.max() + 1 + np.arange(end - start)
    return Layout(
        index=tuple(index),
        ids=ids,
        positions=grid,
        mask=mask,
        segments=None,
        images=tuple(path for sample in chosen for path in sample.images),
        where=np.concatenate(
            [row * width + np.arange(len(s.prompt_ids) - 1, len(s) - 1) for row, s in enumerate(chosen)]
        ),
        targets=np.concatenate([sample.response_ids for sample in chosen]).astype(np.int64),
    )


# -- who takes what -------------------------------------------------------------------------------------------------------


def share_out(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Places in `costs` in `parts` lists of nearly equal sums: the largest first, each to the part that has least so far
    (Graham, "Bounds on multiprocessing timing anomalies", 1969: at most 4/3 of the best possible largest sum)."""
    shares: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(parts), key=lambda part: (sums[part], len(shares[part])))
        shares[least].append(i)
        sums[least] += costs[i]
    return shares


def packed_tokens(prompt: int, responses: Sequence[int]) -> int:
    """Tokens in the row of a prompt and its responses, from their lengths."""
    return prompt + sum(responses) - len(responses)


def cut_packed(samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int, least: int = 1) -> list[list[int]]:
    """Cuts the chosen samples into packs of at most `max_tokens` tokens (or of one sample), as equal as can be.

    Responses to one prompt stay together where the budget allows.

    Args:
        least: make at least so many packs, where there are so many samples.
    """
    units = by_prompt(samples, chosen)
    if len(units) < least:
        units = [[i] for i in chosen]
    else:
        units = [
            [unit[n] for n in piece]
            for unit in units
            for piece in _fill(
                [len(samples[i].response_ids) - 1 for i in unit], max_tokens - len(samples[unit[0]].prompt_ids)
            )
        ]
    costs = [
        packed_tokens(len(samples[unit[0]].prompt_ids), [len(samples[i].response_ids) for i in unit]) for unit in units
    ]
    return [[i for u in pieces for i in units[u]] for pieces in _fill(costs, max_tokens, least)] if units else []


def _fill(costs: Sequence[int], most: int, least: int = 1) -> list[list[int]]:
    """Places in `costs` in the fewest lists that `share_out` keeps within `most` each (or at one item)."""
    parts = max(least, -(-sum(costs) // max(most, 1)), 1)
    while parts < len(costs):
        shares = share_out(costs, parts)
        if all(len(share) == 1 or sum(costs[i] for i in share) <= most for share in shares):
            return shares
        parts += 1
    return [[i] for i in range(len(costs))]


def cut_padded(samples: Sequence[Sample], chosen: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cuts the chosen samples into lists of places, longest first, so that samples × longest stays within `max_tokens`
    (or is one sample). Samples of the same images stay together where their lengths allow."""
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
