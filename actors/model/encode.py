"""Tasks to what the model reads: chat prompts, token ids, pixels; and tokens back to text with offsets."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from actors.model.family import family_of
from actors.model.token_bytes import TokenBytes, token_bytes
from curriculum.images import load_image
from curriculum.strict import Strict
from curriculum.task import Task

FILMS_BYTES = 2**30  # 3,600 films of 112 × 112 pixels for a Qwen2.5-VL, 90 of 900 × 900
BLIND = "the model reads text alone, whose tasks have none"


class PromptConfig(Strict):
    """The system message; it tells the model the form of the response."""

    system: str = "Answer in steps."


class EncodedImage(NamedTuple):
    """An image as the model's processor hands it on: its `pixels` by the names of `Family.inputs`, and the `text` that stands
    for it in a prompt."""

    pixels: dict[str, np.ndarray]
    text: str

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self.pixels.values())


class Encoder:
    """A model folder's processor, for tasks. Of a model that reads text alone, it is the tokenizer.

    Args:
        folder: a Hugging Face folder with a chat template.

    Raises:
        UnsupportedModel: the model is of no family that can be trained.
    """

    def __init__(self, folder: str | Path, prompt: PromptConfig) -> None:
        from transformers import AutoConfig, AutoProcessor, AutoTokenizer

        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.family = family_of(config.model_type)
        self.processor = (AutoProcessor if self.family.sees else AutoTokenizer).from_pretrained(
            folder, trust_remote_code=False
        )  # else a terminal is asked whether the folder may bring code
        self.tokenizer = self.processor.tokenizer if self.family.sees else self.processor
        self.image_token: int | None = (
            config.image_token_id if self.family.sees else None
        )  # where an image's features go
        self.prompt = prompt
        self._films: dict[str, EncodedImage] = {}
        self._films_bytes = 0

    @cached_property
    def eos(self) -> int:
        """The token that ends a response: the first special one that the chat template writes after an answer."""
        messages = [self._message("user", "?"), self._message("assistant", "!")]
        end = self.processor.apply_chat_template(messages, tokenize=False).rpartition("!")[2]
        special = self._special
        return next((token for token in self._ids(end) if token in special), self.tokenizer.eos_token_id)

    @cached_property
    def _special(self) -> set[int]:
        return {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}

    def forbidden(self, vocab_size: int) -> list[int]:
        """Token ids that are no part of a response: special tokens but the end, and rows that pad the vocabulary."""
        ids = {*self._special, *range(len(self.tokenizer), vocab_size)}
        if self.family.sees:
            ids |= {self.image_token, self.tokenizer.convert_tokens_to_ids(self.processor.image_token)}
        return sorted(index for index in ids - {self.eos} if index < vocab_size)

    def prompt_ids(self, task: Task) -> list[int]:
        """The tokens of `prompt_text`; vLLM and `expand` widen the placeholders."""
        return self._ids(self.prompt_text(task))

    def prompt_text(self, task: Task) -> str:
        """The chat prompt of a task, with one placeholder for each image.

        Raises:
            ValueError: it has images, and the model reads text alone.
        """
        if task.images and not self.family.sees:
            raise ValueError(f"task {task.id!r} has images; {BLIND}")
        messages = [self._message("system", self.prompt.system), self._message("user", task.asked, len(task.images))]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def _message(self, role: str, text: str, images: int = 0) -> dict[str, Any]:
        """Templates of models that see want a list of parts, others a text."""
        parts = [{"type": "image"}] * images + [{"type": "text", "text": text}]
        return {"role": role, "content": parts if self.family.sees else text}

    def expand(self, task: Task) -> np.ndarray:
        """int32 [prompt tokens]: the prompt with every image's placeholder widened, as the model reads it."""
        return np.array(
            self._ids(self.widened(self.prompt_text(task), [self.film(path).text for path in task.images])), np.int32
        )

    def widened(self, prompt: str, films: Sequence[str]) -> str:
        """`prompt_text` with the texts of films put for the placeholders.

        Raises:
            ValueError: there is not one placeholder for each.
        """
        parts = self.placeholders(prompt)
        if len(parts) != len(films) + 1:
            raise ValueError(
                f"the prompt has {len(parts) - 1} placeholders for {len(films)} images; the chat template must "
                "write one for each"
            )
        return parts[0] + "".join(text + part for text, part in zip(films, parts[1:], strict=True))

    def placeholders(self, prompt: str) -> list[str]:
        """The parts of a prompt between its placeholders."""
        return prompt.split(self.processor.image_token) if self.family.sees else [prompt]

    def film(self, path: str) -> EncodedImage:
        """The last ones stay in memory, `FILMS_BYTES` of them: SFT and groups see the same films again and again.

        Raises:
            curriculum.images.ImageError: the file is missing or is no image.
        """
        if path not in self._films:
            self._films[path] = self.read(load_image(Path(path)))
            self._films_bytes += self._films[path].bytes
            while self._films_bytes > FILMS_BYTES and len(self._films) > 1:
                self._films_bytes -= self._films.pop(next(iter(self._films))).bytes
        return self._films[path]

    def read(self, image: Image.Image) -> EncodedImage:
        """Raises ValueError: the processor refuses an image of this shape."""
        out = self.processor(
            text=[self.processor.image_token],
            images=[[image]],
            return_text_replacement_offsets=True,
            images_kwargs={"return_tensors": "np"},
        )
        return EncodedImage(
            {name: out[name] for name in self.family.inputs}, out["text_replacement_offsets"][0][0]["replacement"]
        )

    @cached_property
    def blank(self) -> EncodedImage:
        """A small black image."""
        return self.read(Image.new("RGB", (28, 28)))

    def response_ids(self, text: str) -> np.ndarray:
        """int32 [tokens]: a response as the model should write it, the end token included."""
        return np.array([*self._ids(text), self.eos], np.int32)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def text_with_offsets(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """The text of response tokens, and for each token how many characters stand once it is written (int32).

        A character whose bytes are spread over tokens belongs to the token that completes it. The end token has none.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        table, strips = self._bytes
        text, ends = "", []
        for token in ids.tolist():
            piece = decoder.decode(
                table[token] if token < len(table) else b""
            )  # ids that pad the vocabulary write nothing
            if strips and piece:
                piece, strips = piece.removeprefix(" "), False
            text += piece
            ends.append(len(text))
        return text, np.array(ends, np.int32)

    @cached_property
    def _bytes(self) -> TokenBytes:
        return token_bytes(self.tokenizer)
