"""Passwords and keys in a recipe: found before anything keeps it. Pure."""

from __future__ import annotations

import re
from typing import Any

DEEPEST = 32  # mappings and lists within each other; no recipe has half as many
_VALUES = (
    (re.compile(r"://[^/\s@:]*:[^/\s@]+@"), "a URI with a password"),
    (re.compile(r"[?&][^=&\s]*(key|secret|password|token|signature|sig)=", re.I), "a URI with a key"),
    (re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"), "an AWS key"),
    (re.compile(r"\b(hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abprs]-|AIza)[A-Za-z0-9_-]{20,}"), "an API key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
)
_NAME = re.compile(
    r"passw(or)?d|secret|(api|access|private|account)_?key|(auth|access|session|bearer|api)_?token|credential", re.I
)


def find_credential(tree: Any) -> tuple[str, str] | None:
    """(path, what it looks like) of the first password or key in a plain tree; never the value itself.

    Raises:
        ValueError: the tree is deeper than `DEEPEST`.
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while left:
        path, node = left.pop()
        if len(path) > DEEPEST:
            raise ValueError(f"{'.'.join(path[:3])}…: more than {DEEPEST} mappings and lists within each other")
        if isinstance(node, dict):
            left += [((*path, str(key)), value) for key, value in reversed(node.items())]
        elif isinstance(node, (list, tuple)):
            left += [((*path, str(number)), value) for number, value in reversed(list(enumerate(node)))]
        elif isinstance(node, str) and node:
            if what := next((what for pattern, what in _VALUES if pattern.search(node)), None):
                return ".".join(path), what
            if path and _NAME.search(path[-1]):
                return ".".join(path), "a password or key"
    return None
