"""A rule that pays for a response of a reasonable length."""

from __future__ import annotations

from curriculum.task import Task
from rewards.verdict import Verdict


def length_guard(task: Task, response: str, verdict: Verdict, *, least: int, most: int) -> float:
    """1 for a response of `least` to `most` words, falling to 0 at no words and at twice `most`."""
    words = len(response.split())
    return min(1.0, words / max(1, least), max(0.0, 2 - words / most))
