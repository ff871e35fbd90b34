"""Judges many texts in batches, so that one that fails costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


Value = float | Exception
"""What a text is worth, or why it has no value."""


def judge_in_batches(
    judge: Callable[[Sequence[Item]], Sequence[Value]], items: Sequence[Item], size: int
) -> list[Value]:
    """The value of each item, in order, or the error of one that has none.

    If `judge` fails on a batch, it is called for each item of it alone.

    Args:
        judge: takes at most `size` items and returns one value for each.
    """
    values: list[Value] = []
    for start in range(0, len(items), size):
        values += _judge_batch(judge, items[start : start + size])
    return values


def _judge_batch(judge: Callable[[Sequence[Item]], Sequence[Value]], batch: Sequence[Item]) -> list[Value]:
    try:
        values = [value if isinstance(value, Exception) else float(value) for value in judge(batch)]
        if len(values) != len(batch):
            raise ValueError(f"{len(values)} values for {len(batch)} texts")
    except Exception as error:  # noqa: BLE001 (a stranger's package may raise anything)
        if len(batch) == 1:
            return [error]
        return [_judge_batch(judge, [item])[0] for item in batch]
    return values
