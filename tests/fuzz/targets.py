"""The kinds of inputs, each with what makes them and what receives them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import commands, http, models, run_folders, tokens
from tests.fuzz.corpus import Corpus
from tests.fuzz.door import visit_and_judge

AT_ONCE = 100  # inputs between two looks at the clock


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: of the kind.
        inputs: makes them from the corpus.
        receive: gives an input to the product. Raises `door.Ill` if it is received against the rule.
        examples: inputs that every run of the tests tries.
        share: of the time of a long run.
    """

    name: str
    inputs: Callable[[Corpus], st.SearchStrategy[Any]]
    receive: Callable[[Any], int]
    examples: int = 40
    share: float = 1.0


TARGETS = [
    Target("recipes", commands.recipe_files, visit_and_judge),
    Target("task files", commands.task_files, visit_and_judge),
    Target("films", commands.films, visit_and_judge),
    Target("DICOM films", commands.dicom_films, visit_and_judge),
    Target("label files", commands.label_files, visit_and_judge),
    Target("model folders", models.model_folders, visit_and_judge, 25),
    Target("responses", commands.response_files, visit_and_judge),
    Target("run folders", run_folders.run_folders, visit_and_judge),
    Target("requests", http.calls, http.receive_call, 80),
    Target("chats", http.chats, http.receive_chat, 60),
    Target("token files", tokens.token_files, tokens.receive_tokens, 40, 0.3),
]


def fuzz(target: Target, corpus: Corpus, seconds: float | None = None) -> int:
    """Tries inputs: the same few as ever, or new ones for so many seconds. Returns how many.

    Raises:
        Ill: one was received against the rule; the smallest such input that was found is in the notes.
    """
    tried = 0

    def one(value: Any) -> None:
        nonlocal tried
        tried += 1
        target.receive(value)

    test = given(target.inputs(corpus))(one)
    quiet = list(HealthCheck)
    if seconds is None:
        settings(max_examples=target.examples, suppress_health_check=quiet)(test)()
        return tried
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fresh = settings(max_examples=AT_ONCE, derandomize=False, suppress_health_check=quiet)(test)
        seed(random.getrandbits(64))(fresh)()
    return tried
