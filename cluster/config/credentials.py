"""Finds passwords and keys in a recipe before anything stores it. Pure."""

from __future__ import annotations

import re
from typing import Any

MAX_VALUES = 100_000  # a file with aliases of aliases holds more than could ever be visited
MAX_DEPTH = 32  # mappings and lists within each other; no recipe has half as many
_VALUES = (
    (re.compile(r"://[^/\s@:]*:[^/\s@]+@"), "a URI with a password"),
    (re.compile(r"[?&][^=&\s]*(key|secret|password|token|signature|sig)=", re.I), "a URI with a key"),
    (re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"), "an AWS key"),
    (re.compile(r"\b(hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abprs]-|AIza)[A-Za-z0-9_-]{20,}"), "an API key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # the name of an environment variable that holds a key
_NAME = re.compile(
    r"passw(or)?d|secret|(api|access|private|account)_?key|(auth|access|session|bearer|api)_?token|credential", re.I
)


def find_credential(tree: Any) -> tuple[str, str] | None:
    """Finds the first password or key in a plain tree.

    Returns:
        Its path and what it looks like, never the value itself; None if there is none.

    Raises:
        ValueError: the tree is deeper than `MAX_DEPTH`, or has more than `MAX_VALUES` values.
    """
    visited = 0
    unvisited: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while unvisited:
        path, node = unvisited.pop()
        visited += 1
        if visited > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values; no recipe needs so many")
        if len(path) > MAX_DEPTH:
            raise ValueError(f"{'.'.join(path[:3])}…: more than {MAX_DEPTH} mappings and lists within each other")
        if isinstance(node, dict):
            unvisited += [((*path, str(key)), value) for key, value in reversed(node.items())]
        elif isinstance(node, (list, tuple)):
            unvisited += [((*path, str(number)), value) for number, value in reversed(list(enumerate(node)))]
        elif isinstance(node, str) and node:
            kind = _kind_of(path, node)
            if kind is not None:
                return ".".join(path), kind
    return None


def _kind_of(path: tuple[str, ...], text: str) -> str | None:
    """What a text at `path` looks like, by itself or by its key; None if it is no secret."""
    for pattern, kind in _VALUES:
        if pattern.search(text):
            return kind
    if not path or not _NAME.search(path[-1]):
        return None
    return None if path[-1].endswith("_env") and _VARIABLE.fullmatch(text) else "a password or key"
