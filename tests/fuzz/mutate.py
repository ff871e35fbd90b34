"""Spoils what is right: bytes, texts, and trees of mappings and lists."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e308,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "\t",
    "\0",
    "a\0b",
    "\ud83d",
    "\udcff",
    "\ufeff",
    "\u2028",
    "\x1b[31m",
    "\x85",
    "nan",
    "None",
    "null",
    "a" * 5000,
    "/",
    "..",
    ".",
    "~",
    "/proc/self/mem",
    "/dev/full",
    "%s",
    "{}",
    "{0}",
    "${HOME}",
    "[bold]",
    "A",
    "B",
    "<image>",
    "<think>",
    "</answer>",
    "✅",
    "Ａ",
    "א",
    "1e400",
    "1_0",
    "0x10",
    "٣",
    "²",
    [],
    [[]],
    [None],
    [""],
    [1, "a"],
    ["a", "a"],
    {},
    {"": ""},
    {"a": None},
    {"A": "x"},
    [{}],
    [{"a": [{}]}],
    b"",
    b"\xff",
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1, 1, 1),
]
JSON_VALUES = [value for value in ODD_VALUES if not isinstance(value, bytes | datetime.date)]
ODD_KEYS = ["", " ", "\0", "\ud83d", "path", "name", "kind", "workers", "a.b", "__class__", "\x1b[31m", "0", "A"]
INTERESTING_BYTES = [0, 1, 9, 10, 13, 27, 34, 39, 44, 47, 58, 92, 123, 127, 128, 0xC3, 0xED, 0xFE, 0xFF]
PIECES = [
    b"\0" * 8,
    b"\xff" * 8,
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b",",
    b"\xed\xa0\x80",
    b"\x1b[2J",
]


@st.composite
def odd_bytes(draw: st.DrawFn, seeds: Sequence[bytes], pieces: Sequence[bytes] = ()) -> bytes:
    """One of the seeds with one to six damages."""
    content = bytearray(draw(st.sampled_from(list(seeds))))
    for _ in range(draw(st.integers(1, 6))):
        _damage(draw, content, [*PIECES, *pieces], seeds)
    return bytes(content)


def _damage(draw: st.DrawFn, content: bytearray, pieces: Sequence[bytes], seeds: Sequence[bytes]) -> None:
    place = draw(st.integers(0, len(content)))
    end = min(len(content), place + draw(st.sampled_from([1, 1, 2, 4, 16, 200])))
    action = draw(st.sampled_from(["set", "set", "flip", "insert", "remove", "repeat", "cut", "other"]))
    if action == "set" and place < len(content):
        content[place] = draw(st.sampled_from(INTERESTING_BYTES))
    elif action == "flip" and place < len(content):
        content[place] ^= 1 << draw(st.integers(0, 7))
    elif action == "insert":
        content[place:place] = draw(st.sampled_from(list(pieces)))
    elif action == "remove":
        del content[place:end]
    elif action == "repeat":
        content[place:place] = content[place:end] * draw(st.sampled_from([1, 3, 50]))
    elif action == "cut":
        del content[place:]
    elif action == "other":
        other = draw(st.sampled_from(list(seeds)))
        content[place:] = other[min(place, len(other)) :]


@st.composite
def odd_tree(draw: st.DrawFn, seeds: Sequence[Any], values: Sequence[Any] = ODD_VALUES) -> Any:
    """A copy of one of the seeds with one to four of its values or keys spoilt."""
    tree = copy.deepcopy(draw(st.sampled_from(list(seeds))))
    for _ in range(draw(st.integers(1, 4))):
        slots = _slots(tree)
        if not slots:
            break
        holder, key = slots[draw(st.integers(0, len(slots) - 1))]
        _spoil(draw, holder, key, slots, values)
    return tree


def _slots(tree: Any) -> list[tuple[Any, Any]]:
    """Every place in a tree that holds a value: its mapping or list, and its key or number."""
    slots: list[tuple[Any, Any]] = []
    unvisited = [tree]
    while unvisited:
        node = unvisited.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            slots.append((node, key))
            unvisited.append(node[key])
    return slots


def _spoil(draw: st.DrawFn, holder: Any, key: Any, slots: list[tuple[Any, Any]], values: Sequence[Any]) -> None:
    action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "add", "swap", "nest", "text"]))
    value = copy.deepcopy(draw(st.sampled_from(list(values))))
    if action == "replace":
        holder[key] = value
    elif action == "remove":
        del holder[key]
    elif action == "rename" and isinstance(holder, dict):
        holder[draw(st.sampled_from(ODD_KEYS))] = holder.pop(key)
    elif action == "add":
        if isinstance(holder, dict):
            holder[draw(st.sampled_from(ODD_KEYS))] = value
        else:
            holder.append(copy.deepcopy(holder[key]))
    elif action == "swap":
        other, other_key = slots[draw(st.integers(0, len(slots) - 1))]
        holder[key] = copy.deepcopy(other[other_key])
    elif action == "nest":
        holder[key] = [holder[key]] if draw(st.booleans()) else {"a": holder[key]}
    elif action == "text":
        holder[key] = str(holder[key])[:200] + draw(st.sampled_from([text for text in values if isinstance(text, str)]))


def mostly(right: Callable[[Any], bytes], trees: st.SearchStrategy, spoil: bool = True) -> st.SearchStrategy[bytes]:
    """Trees as the bytes that `right` writes, some of them damaged afterwards."""
    written = trees.map(right)
    if not spoil:
        return written
    return written | written.flatmap(lambda content: odd_bytes([content]))
