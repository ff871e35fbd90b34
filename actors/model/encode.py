"""From tasks to what the model reads (chat prompts, token ids, pixels), and from tokens back to text with offsets."""

from __future__ import annotations

import codecs
import copy
import hashlib
import re
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from actors.model.families import family_of
from actors.model.families.pixel_budget import PixelBudget, PixelBudgetError
from actors.model.films.film_cache import FilmCache, node_cache
from actors.model.films.read_ahead import EncodedImage, Films
from actors.model.films.scaling import ProcessorScaling
from actors.model.token_bytes import TokenBytes, token_bytes
from curriculum.images import load_image
from curriculum.sets.stamp import stamp_of
from curriculum.strict import Strict
from curriculum.task import Task

TEXT_ONLY = "the model reads text only"
CACHED_BYTES = 2**16  # of a film's file; smaller ones are decoded as fast as they are read from the node's cache
THINK = "<think>"
_OPENED = re.compile(rf"{THINK}\s*\Z")


class SystemMessage(Strict):
    """The system message, which describes the form of the response to the model."""

    system: str = "Answer in steps."


class PromptConfig(SystemMessage, PixelBudget):
    """How tasks become prompts: the system message, and the pixels of images."""

    film_cache_gib: float = 0  # of films as the model reads them, on the disk of every node


class Encoder:
    """A model folder's processor, applied to tasks. For a model that reads text only, the processor is the tokenizer.

    Args:
        folder: a Hugging Face folder with a chat template.
        prompt: the system message, the pixel budget that the processor keeps, and the cache of films.
        film_threads: how many threads read films ahead (`Films.expect`).

    Attributes:
        films: what the processor makes of films, by their paths.
        scaling: how large films are scaled down as they are read; None if the processor needs them whole.

    Raises:
        UnsupportedModel: the model belongs to no family that can be trained.
        PixelBudgetError: its processor cannot keep the pixel budget.
    """

    def __init__(self, folder: str | Path, prompt: PromptConfig, film_threads: int = 0) -> None:
        from transformers import AutoConfig, AutoProcessor, AutoTokenizer

        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.family = family_of(config.model_type)
        loader = AutoProcessor if self.family.reads_images else AutoTokenizer
        # Without trust_remote_code, transformers may ask on the terminal whether to run the folder's own code.
        self.processor = loader.from_pretrained(folder, trust_remote_code=False)
        if self.family.reads_images:
            self.tokenizer = self.processor.tokenizer
            self.image_token: int | None = config.image_token_id  # replaced by an image's features
        else:
            self.tokenizer = self.processor
            self.image_token = None
        self.template = self._find_template()
        self.prompt = prompt
        if prompt.sets_pixels:
            self._set_pixels()
        self.fingerprint = _fingerprint(Path(folder), prompt)
        self.films = Films(lambda path: self.read(self.image(path)), film_threads)
        self.scaling: ProcessorScaling | None = None
        if self.family.scaled_size is not None:
            self.scaling = ProcessorScaling(self.family, self.processor.image_processor)
        self._own = threading.local()  # a thread's own processor: tokenizers must not be used by two at once
        self._own.processor = self.processor
        self._once = threading.Lock()
        self._cache: FilmCache | None = None

    def _set_pixels(self) -> None:
        """Gives the image processor the pixel budget, which it then keeps here and in every folder it is saved to."""
        self.family.check_budget(self.prompt)
        images, frames = self.processor.image_processor, self.family.counted_frames
        least = self.prompt.min_pixels or images.size["shortest_edge"] // frames
        most = self.prompt.max_pixels or images.size["longest_edge"] // frames
        if least > most:
            raise PixelBudgetError(
                f"images would have {least:,} pixels at least and {most:,} at most, one of them by the folder's own "
                "processor; set both model.min_pixels and model.max_pixels"
            )
        if most < self.token_pixels:
            raise PixelBudgetError(
                f"model.max_pixels: {most:,} is too small; one token has {self.token_pixels:,} pixels"
            )
        images.size = self.size_of(least, most)

    def size_of(self, least: int, most: int) -> dict[str, int]:
        """The image processor's `size` for images of so many pixels, in a family with a pixel budget."""
        frames = self.family.counted_frames
        return {"shortest_edge": least * frames, "longest_edge": most * frames}

    @property
    def token_pixels(self) -> int:
        """Pixels that become one token, in a family with a pixel budget."""
        images = self.processor.image_processor
        side: int = images.patch_size * images.merge_size
        return side**2

    def _find_template(self) -> str:
        """The chat template, in whichever of its places the folder keeps it; "" if it has none.

        A processor reads the template's own file, its tokenizer also finds one in tokenizer_config.json.
        """
        for part in (self.processor, self.tokenizer):
            template = part.chat_template
            if isinstance(template, dict):  # several, by name
                template = template.get("default")
            if template:
                return template
        return ""

    def _chat(self, messages: list[dict[str, Any]], prompt: bool) -> str:
        """A chat as text, with the opening of an answer at its end if it is a prompt."""
        return self.processor.apply_chat_template(
            messages, chat_template=self.template or None, add_generation_prompt=prompt, tokenize=False
        )

    @cached_property
    def after_answer(self) -> str:
        """What the chat template writes after an answer."""
        messages = [self._message("user", "?"), self._message("assistant", "!")]
        return self._chat(messages, prompt=False).rpartition("!")[2]

    @cached_property
    def eos(self) -> int:
        """The token that ends a response: the first special one that the chat template writes after an answer."""
        for token in self._ids(self.after_answer):
            if token in self._special:
                return token
        return self.tokenizer.eos_token_id

    @cached_property
    def opened(self) -> str:
        """The `<think>` with which the chat template ends every prompt, and the white space after it; else "".

        Templates of models that think first have it. It is a part of every response, written for the model.
        """
        match = _OPENED.search(self.chat_prompt("?"))
        return match[0] if match else ""

    def is_special(self, text: str) -> bool:
        """Whether the tokenizer reads this text as one of its special tokens."""
        return any(token.special and token.content == text for token in self.tokenizer.added_tokens_decoder.values())

    @cached_property
    def _special(self) -> set[int]:
        return {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}

    def forbidden(self, vocab_size: int) -> list[int]:
        """Token ids that no response may have: special tokens other than the end, and ids that pad the vocabulary."""
        ids = {*self._special, *range(len(self.tokenizer), vocab_size)}
        if self.image_token is not None:
            ids |= {self.image_token, self.tokenizer.convert_tokens_to_ids(self.processor.image_token)}
        return sorted(index for index in ids - {self.eos} if index < vocab_size)

    def prompt_ids(self, task: Task) -> list[int]:
        """The tokens of `prompt_text`, with one placeholder for each image; vLLM and `expand` widen them."""
        return self._ids(self.prompt_text(task))

    def prompt_text(self, task: Task) -> str:
        """The chat prompt of a task, with one placeholder for each image.

        Raises:
            ValueError: the task has images, and the model reads text only.
        """
        if task.images and not self.family.reads_images:
            raise ValueError(f"task {task.id!r} has images; {TEXT_ONLY}")
        return self.chat_prompt(task.asked, len(task.images))

    def chat_prompt(self, question: str, images: int = 0) -> str:
        """The chat prompt of a question, after the system message, with one placeholder for each image."""
        messages = [self._message("system", self.prompt.system), self._message("user", question, images)]
        return self._chat(messages, prompt=True)

    def _message(self, role: str, text: str, images: int = 0) -> dict[str, Any]:
        """A chat message. Templates of models that read images take a list of parts, others a text."""
        if not self.family.reads_images:
            return {"role": role, "content": text}
        return {"role": role, "content": [{"type": "image"}] * images + [{"type": "text", "text": text}]}

    def expand(self, task: Task) -> np.ndarray:
        """int32 [prompt tokens]: the prompt with every image's placeholder widened, as the model reads it."""
        films = [self.films.text(path) for path in task.images]
        return np.array(self._ids(self.widened(self.prompt_text(task), films)), np.int32)

    def widened(self, prompt: str, films: Sequence[str]) -> str:
        """`prompt` with its placeholders replaced by the texts of films.

        Raises:
            ValueError: the numbers of placeholders and films differ.
        """
        parts = self.placeholders(prompt)
        if len(parts) != len(films) + 1:
            raise ValueError(
                f"the prompt has {len(parts) - 1} placeholders for {len(films)} images; the chat template must "
                "write one for each"
            )
        return parts[0] + "".join(text + part for text, part in zip(films, parts[1:], strict=True))

    def placeholders(self, prompt: str) -> list[str]:
        """The parts of a prompt around its placeholders: one more than there are placeholders."""
        return prompt.split(self.processor.image_token) if self.family.reads_images else [prompt]

    def film(self, path: str) -> EncodedImage:
        """An encoded film, from memory if possible.

        Raises:
            curriculum.images.ImageError: the file is missing or is no image.
            ValueError: the processor refuses an image of this shape.
        """
        return self.films.get(path)

    def image(self, path: str) -> Image.Image:
        """A film as RGB, before the processor: upright, and scaled down to what the processor would make of it, from
        the node's cache if possible. Several threads may call it.

        Raises:
            curriculum.images.ImageError: the file is missing or is no image.
        """
        stamp = stamp_of(path)
        if not self.prompt.film_cache_gib or stamp is None or stamp.bytes < CACHED_BYTES:
            return load_image(path, self.scaling)
        with self._once:
            self._cache = self._cache or node_cache(int(self.prompt.film_cache_gib * 2**30))
        settings = self.scaling.settings() if self.scaling else ""
        return self._cache.get(f"{path} {stamp} {settings}", lambda: load_image(path, self.scaling))

    def close(self) -> None:
        """Reads no more films ahead, and leaves the node's cache of films, which goes with the last who leaves it."""
        self.films.close()
        if self._cache is not None:
            self._cache.close()

    def read(self, image: Image.Image) -> EncodedImage:
        """Encodes an image. Several threads may call it.

        Raises:
            ValueError: the processor refuses an image of this shape.
        """
        if not hasattr(self._own, "processor"):
            with self._once:
                self._own.processor = copy.deepcopy(self.processor)
        processor = self._own.processor
        out = processor(
            text=[processor.image_token],
            images=[[image]],
            return_text_replacement_offsets=True,
            images_kwargs={"return_tensors": "np"},
        )
        pixels = {name: out[name] for name in self.family.image_inputs}
        return EncodedImage(pixels, text=out["text_replacement_offsets"][0][0]["replacement"])

    @cached_property
    def blank(self) -> EncodedImage:
        """A small black image."""
        return self.read(Image.new("RGB", (28, 28)))

    def response_ids(self, text: str) -> np.ndarray:
        """int32 [tokens]: a response as the model should write it, the end token included.

        A tag that the prompt has opened is left out.
        """
        if self.opened and text.startswith(THINK):
            text = text.removeprefix(THINK).lstrip()
        return np.array([*self._ids(text), self.eos], np.int32)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def text_with_offsets(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """Decodes response tokens. What the prompt has opened stands before them and belongs to the first token.

        A character whose bytes are spread over several tokens belongs to the token that completes it. The end token
        writes nothing.

        Returns:
            (the text; int32 [tokens]: the length of the text once each token is written).
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        table, strip_space = self._bytes
        text = self.opened
        ends = []
        for token in ids.tolist():
            written = table[token] if token < len(table) else b""  # ids that pad the vocabulary write nothing
            piece = decoder.decode(written)
            if strip_space and piece:
                piece = piece.removeprefix(" ")
                strip_space = False
            text += piece
            ends.append(len(text))
        return text, np.array(ends, np.int32)

    @cached_property
    def _bytes(self) -> TokenBytes:
        return token_bytes(self.tokenizer)


def _fingerprint(folder: Path, prompt: PromptConfig) -> str:
    """A hash of all that decides how tasks become tokens: the folder's small files, and the prompt's settings."""
    found = hashlib.blake2b(prompt.model_dump_json(exclude={"film_cache_gib"}).encode(), digest_size=16)
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".jinja", ".txt", ".model"):
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()
