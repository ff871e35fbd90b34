"""Checks the rows of a task set against a model folder's processor: lengths, placeholders of images, marks of the tokenizer.

It goes on where `curriculum.check` ends, and adds these kinds of fault:

| kind | the row |
|---|---|
| `special token` | has a text that the tokenizer would read as one of its own marks, such as `<|image_pad|>` |
| `placeholders` | gets a prompt that has not one placeholder for each image |
| `image` | asks about an image of a shape that the image processor refuses, or a model that reads text alone about an image |
| `too long` | has a prompt or a gold trace over the token budget |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from actors.model.encode import BLIND, Encoder
from curriculum.check import ROWS_AT_ONCE
from curriculum.task import Task
from curriculum.taskset import RowFault, Size, TaskRow


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a sequence and a response may have. Families that are neither asked nor taught are not limited.

    `asked` are the families that the model answers itself: prompt and whole response must fit. `taught` are those whose
    gold traces it learns from: prompt and trace must fit, and the trace into a response where the family is asked too.
    """

    sequence: int
    response: int
    asked: frozenset[str]
    taught: frozenset[str]


def check_tokens(rows: Iterable[TaskRow], encoder: Encoder, budget: TokenBudget) -> Iterator[TaskRow]:
    """The rows, in order, with their token numbers and the faults that the encoder's processor shows.

    Rows that are no tasks pass as they are; where an image cannot be read, only the texts are judged.
    """
    check = _Check(encoder, budget)
    rows = iter(rows)
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        check.count([row for row in chunk if row.task])
        yield from chunk


class _Check:
    def __init__(self, encoder: Encoder, budget: TokenBudget) -> None:
        self.encoder, self.budget = encoder, budget
        added = encoder.tokenizer.added_tokens_decoder.values()
        self.marks = re.compile("|".join(re.escape(token.content) for token in added if token.special) or "(?!)")
        self.of_size: dict[Size, int | RowFault] = {}  # tokens of an image of that size

    def count(self, rows: list[TaskRow]) -> None:
        """Fills in the token numbers and the faults of rows that are tasks."""
        if not self.encoder.family.sees:
            for row in rows:
                row.faults += [RowFault("image", f"the task has images; {BLIND}")] if row.task.images else []
            rows = [row for row in rows if not row.task.images]
        texts = [self.encoder.prompt_text(row.task) for row in rows]
        prompts = self._tokens(texts)
        traces = self._tokens([row.task.reference or "" for row in rows])
        for row, text, prompt, trace in zip(rows, texts, prompts, traces, strict=True):
            row.reference_tokens = len(trace) + 1 if row.task.reference else None
            if marks := self._marks(row.task):
                row.faults += marks  # whatever they do to the prompt is their fault
                continue
            if len(row.sizes) != len(row.task.images):
                continue
            found = {size: self._placeholders(size) for size in row.sizes}
            faults = [fault for fault in found.values() if isinstance(fault, RowFault)]
            if (number := len(self.encoder.placeholders(text)) - 1) != len(row.sizes):
                faults.append(
                    RowFault(
                        "placeholders",
                        f"the prompt has {number} placeholders for {len(row.sizes)} images; "
                        "the chat template must write one for each",
                    )
                )
            if not faults:
                of_images = sum(found[size] for size in row.sizes)
                row.prompt_tokens = len(prompt) - len(row.sizes) + of_images
                faults = self._too_long(row, of_images)
            row.faults += faults

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.encoder.tokenizer(texts, add_special_tokens=False).input_ids if texts else []

    def _marks(self, task: Task) -> list[RowFault]:
        texts = {
            "question": task.question,
            "options": "\n".join(task.options.values()),
            "captions": "\n".join(task.captions),
            "context": task.context,
            "reference": task.reference or "",
        }
        return [
            RowFault(
                "special token", f"{name}: holds {mark[0]!r}, which the model's tokenizer reads as a mark of its own"
            )
            for name, text in texts.items()
            if (mark := self.marks.search(text))
        ]

    def _placeholders(self, size: Size) -> int | RowFault:
        """How many tokens the processor itself makes of an image of this size; only the size decides."""
        if size not in self.of_size:
            self.of_size[size] = self._ask_processor(size)
        return self.of_size[size]

    def _ask_processor(self, size: Size) -> int | RowFault:
        try:
            film = self.encoder.read(Image.new("RGB", size))
        except ValueError as error:
            return RowFault(
                "image", f"the model's image processor refuses an image of {size[0]} × {size[1]} pixels ({error})"
            )
        return len(self._tokens([film.text])[0])

    def _too_long(self, row: TaskRow, of_images: int) -> list[RowFault]:
        family, prompt, trace, budget = row.task.family, row.prompt_tokens, row.reference_tokens, self.budget
        if family in budget.asked and prompt + budget.response > budget.sequence:
            left = budget.sequence - budget.response
            return [
                RowFault(
                    "too long",
                    f"the prompt has {prompt} tokens, {of_images} of them for images; a sequence of "
                    f"{budget.sequence} leaves {left} beside a response of {budget.response}",
                )
            ]
        if family not in budget.taught or trace is None:
            return []
        if family in budget.asked and trace > budget.response:
            return [
                RowFault("too long", f"reference: the trace has {trace} tokens; a response may have {budget.response}")
            ]
        if prompt + trace > budget.sequence:
            return [
                RowFault(
                    "too long",
                    f"reference: prompt and trace have {prompt + trace} tokens; a sequence may have {budget.sequence}",
                )
            ]
        return []
