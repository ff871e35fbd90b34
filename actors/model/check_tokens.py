"""Checks the rows of a task set against a model folder's processor: lengths, image placeholders, special tokens.

It continues after `curriculum.check`, and adds these kinds of fault:

| kind | the row |
|---|---|
| `special token` | has a text that the tokenizer would read as one of its special tokens, such as `<|image_pad|>` |
| `placeholders` | gets a prompt that does not have one placeholder for each image |
| `image` | has an image of a shape that the image processor refuses, or has images while the model reads text only |
| `too long` | has a prompt or a gold trace over the token budget |
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from actors.model.encode import TEXT_ONLY, Encoder
from curriculum.task import Task
from curriculum.taskset import RowFault, Size, TaskRow

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a sequence and a response may have.

    Attributes:
        sequence: prompt and response together.
        response: a response alone.
        asked: task families that the model answers itself: their prompts must leave room for a whole response.
        taught: task families whose gold traces the model learns from: prompt and trace must fit into a sequence, and,
            if the family is also asked, the trace into a response. Families in neither set are not limited.
    """

    sequence: int
    response: int
    asked: frozenset[str]
    taught: frozenset[str]

    def needed(self, row: TaskRow) -> int | None:
        """The tokens of the sequence that a row which is too long would need; None if no sequence mends it."""
        assert row.task is not None and row.prompt_tokens is not None
        trace = (row.reference_tokens or 0) if row.task.family in self.taught else 0
        if row.task.family not in self.asked:
            return row.prompt_tokens + trace
        return row.prompt_tokens + self.response if trace <= self.response else None


def check_tokens(rows: Iterable[TaskRow], encoder: Encoder, budget: TokenBudget) -> Iterator[TaskRow]:
    """Yields the rows, in order, with their numbers of tokens and the faults that the encoder's processor shows.

    Rows without a task pass unchanged. If an image of a row cannot be read, only the row's texts are checked.
    """
    check = _Check(encoder, budget)
    rows = iter(rows)
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        check.count([(row, row.task) for row in chunk if row.task])
        yield from chunk


class FittingSettings:
    """Which settings would fit the rows that are too long, and how many of all rows each of them keeps.

    Args:
        encoder, budget: with which the rows were checked.
    """

    def __init__(self, encoder: Encoder, budget: TokenBudget) -> None:
        self.encoder, self.budget = encoder, budget
        self.rows = 0
        self.good = 0
        # For each row that is only too long: the shortest sequence that it fits into, and the `max_pixels` with which
        # it fits into the present one, if there are such values.
        self.sequences: list[int] = []
        self.pixels: list[int] = []

    def counted(self, rows: Iterable[TaskRow]) -> Iterator[TaskRow]:
        """Yields the rows and counts them."""
        for row in rows:
            self.rows += 1
            if not row.faults:
                self.good += 1
            elif [fault.kind for fault in row.faults] == ["too long"]:
                self._add(row)
            yield row

    def _add(self, row: TaskRow) -> None:
        sequence = self.budget.needed(row)
        if sequence is None:
            return
        self.sequences.append(sequence)
        room = row.image_tokens - (sequence - self.budget.sequence)  # for the images
        pixels = self._pixels(row.sizes, room) if row.sizes and self.encoder.family.has_pixel_budget else None
        if pixels:
            self.pixels.append(pixels)

    def _pixels(self, sizes: Sequence[Size], room: int) -> int | None:
        """`max_pixels` with which images of these sizes have at most `room` tokens; None if there is none."""
        images = self.encoder.processor.image_processor
        pixels = room // len(sizes) * self.encoder.token_pixels
        least = images.size["shortest_edge"] // self.encoder.family.counted_frames
        if pixels < max(least, self.encoder.token_pixels):
            return None
        limit = {"max_pixels": pixels, "size": self.encoder.size_of(least, pixels)}  # a processor takes one of both
        patches = sum(images.get_number_of_image_patches(height, width, limit) for width, height in sizes)
        return pixels if patches <= room * images.merge_size**2 else None

    def words(self) -> str:
        """For each setting, the values that keep 95 % and all of the rows that it can keep; "" if it can keep none."""
        choices = [
            *self._choices("model.max_pixels", sorted(self.pixels, reverse=True)),
            *self._choices("rollout.max_model_tokens", sorted(self.sequences)),
        ]
        return f"rows that are too long would fit: {', '.join(choices)}" if choices else ""

    def _choices(self, setting: str, values: Sequence[int]) -> Iterator[str]:
        """`values`: for each row, the one with which it fits, the most generous first."""
        most, last = math.ceil(0.95 * len(values)), len(values)
        for value in dict.fromkeys(values[count - 1] for count in (most, last) if values):
            kept = self.good + len(values) - values[::-1].index(value)
            yield f"{setting}={value} keeps {kept:,} of {self.rows:,}"


class _Check:
    def __init__(self, encoder: Encoder, budget: TokenBudget) -> None:
        self.encoder = encoder
        self.budget = budget
        added = encoder.tokenizer.added_tokens_decoder.values()
        special = [re.escape(token.content) for token in added if token.special]
        self.special_tokens = re.compile("|".join(special) or "(?!)")
        self.image_tokens: dict[Size, int | RowFault] = {}  # of an image of that size

    def count(self, rows: list[tuple[TaskRow, Task]]) -> None:
        """Fills in the numbers of tokens and the faults of rows and their tasks."""
        if not self.encoder.family.reads_images:
            for row, task in rows:
                if task.images:
                    row.faults.append(RowFault("image", f"the task has images; {TEXT_ONLY}"))
            rows = [(row, task) for row, task in rows if not task.images]
        texts = [self.encoder.prompt_text(task) for _, task in rows]
        prompts = self._tokens(texts)
        traces = self._tokens([task.reference or "" for _, task in rows])
        for (row, task), text, prompt, trace in zip(rows, texts, prompts, traces, strict=True):
            row.reference_tokens = len(trace) + 1 if task.reference else None
            special = self._special_token_faults(task)
            if special:
                row.faults += special  # and whatever they do to the prompt follows from them
            elif len(row.sizes) == len(task.images):
                row.faults += self._prompt_faults(row, task, text, len(prompt))

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.encoder.tokenizer(texts, add_special_tokens=False).input_ids if texts else []

    def _special_token_faults(self, task: Task) -> list[RowFault]:
        texts = {
            "question": task.question,
            "options": "\n".join(task.options.values()),
            "captions": "\n".join(task.captions),
            "context": task.context,
            "reference": task.reference or "",
        }
        faults = []
        for name, text in texts.items():
            match = self.special_tokens.search(text)
            if match:
                message = f"{name}: holds {match[0]!r}, which the model's tokenizer reads as a special token"
                faults.append(RowFault("special token", message))
        return faults

    def _prompt_faults(self, row: TaskRow, task: Task, text: str, tokens: int) -> list[RowFault]:
        """The faults of a prompt; without any, the row's number of prompt tokens is set.

        Args:
            row: is changed.
            task: of the row.
            text: of the prompt.
            tokens: of the prompt, with one for each image.
        """
        faults = []
        of_images = 0
        for size in dict.fromkeys(row.sizes):
            image_tokens = self._image_tokens(size)
            if isinstance(image_tokens, RowFault):
                faults.append(image_tokens)
            else:
                of_images += image_tokens * row.sizes.count(size)
        placeholders = len(self.encoder.placeholders(text)) - 1
        if placeholders != len(row.sizes):
            message = (
                f"the prompt has {placeholders} placeholders for {len(row.sizes)} images; "
                "the chat template must write one for each"
            )
            faults.append(RowFault("placeholders", message))
        if faults:
            return faults
        row.prompt_tokens = tokens - len(row.sizes) + of_images
        row.image_tokens = of_images
        too_long = self._too_long(task.family, row.prompt_tokens, of_images, row.reference_tokens)
        return [] if too_long is None else [RowFault("too long", too_long)]

    def _image_tokens(self, size: Size) -> int | RowFault:
        """Tokens of an image of this size, by the processor itself; they depend on the size alone."""
        if size not in self.image_tokens:
            self.image_tokens[size] = self._count_image_tokens(size)
        return self.image_tokens[size]

    def _count_image_tokens(self, size: Size) -> int | RowFault:
        width, height = size
        try:
            film = self.encoder.read(Image.new("RGB", size))
        except ValueError as error:
            return RowFault(
                "image", f"the model's image processor refuses an image of {width} × {height} pixels ({error})"
            )
        return len(self._tokens([film.text])[0])

    def _too_long(self, family: str, prompt: int, of_images: int, trace: int | None) -> str | None:
        """What is over the budget, if anything is; `trace` is None if the task has no gold trace."""
        budget = self.budget
        if family in budget.asked and prompt + budget.response > budget.sequence:
            left = budget.sequence - budget.response
            return (
                f"the prompt has {prompt} tokens, {of_images} of them for images; a sequence of "
                f"{budget.sequence} leaves {left} beside a response of {budget.response}"
            )
        if family not in budget.taught or trace is None:
            return None
        if family in budget.asked and trace > budget.response:
            return f"reference: the trace has {trace} tokens; a response may have {budget.response}"
        if prompt + trace > budget.sequence:
            return f"reference: prompt and trace have {prompt + trace} tokens; a sequence may have {budget.sequence}"
        return None
