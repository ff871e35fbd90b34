"""Tasks to what the model reads: chat prompts, token ids, image patches; and tokens back to text with offsets."""

from __future__ import annotations

import codecs
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from curriculum.images import load_image
from curriculum.task import Task

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")


class PromptConfig(BaseModel):
    """The system message; it tells the model the form of the response."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = "Answer in steps."


class Encoder:
    """A model folder's processor, for tasks.

    Args:
        folder: a Hugging Face folder with a Qwen2-VL-type processor and a chat template.
    """

    def __init__(self, folder: str | Path, prompt: PromptConfig) -> None:
        from transformers import AutoProcessor

        self.processor = AutoProcessor.from_pretrained(folder)
        self.tokenizer = self.processor.tokenizer
        self.prompt = prompt
        self._pixels: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @cached_property
    def image_token(self) -> int:
        return self.tokenizer.convert_tokens_to_ids("<|image_pad|>")

    @cached_property
    def eos(self) -> int:
        return self.tokenizer.eos_token_id

    def forbidden(self, vocab_size: int) -> list[int]:
        """Token ids that are no part of a response: vision tokens, turn marks, and rows that pad the vocabulary."""
        names = (*VISION_TOKENS, "<|im_start|>", "<|endoftext|>")
        ids = {self.tokenizer.convert_tokens_to_ids(name) for name in names} - {None, self.eos}
        return sorted(ids | set(range(len(self.tokenizer), vocab_size)))

    def prompt_ids(self, task: Task) -> list[int]:
        """The tokens of `prompt_text`; vLLM and `expand` widen the placeholders."""
        return self.tokenizer(self.prompt_text(task), add_special_tokens=False).input_ids

    def prompt_text(self, task: Task) -> str:
        """The chat prompt of a task, with one placeholder for each image."""
        options = "".join(f"\n{letter}) {text}" for letter, text in task.options.items())
        content = [{"type": "image"} for _ in task.images] + [{"type": "text", "text": task.question + options}]
        messages = [{"role": "system", "content": self.prompt.system}, {"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def expand(self, task: Task) -> np.ndarray:
        """int32 [prompt tokens]: the prompt with as many placeholders for an image as it has features."""
        merge = self.processor.image_processor.merge_size**2
        counts = iter([int(self.pixels(path)[1].prod()) // merge for path in task.images])
        ids: list[int] = []
        for token in self.prompt_ids(task):
            ids.extend([token] * (next(counts) if token == self.image_token else 1))
        return np.array(ids, np.int32)

    def pixels(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """(float32 [patches, patch values], int64 [3] grid of time, rows, columns) of an image.

        The last 4,096 images stay in memory: SFT and groups see the same films again and again.

        Raises:
            curriculum.images.ImageError: the file is missing or is no image.
        """
        if path not in self._pixels:
            if len(self._pixels) >= 4096:
                self._pixels.pop(next(iter(self._pixels)))
            out = self.processor.image_processor(images=[load_image(Path(path))], return_tensors="np")
            self._pixels[path] = out["pixel_values"], out["image_grid_thw"][0]
        return self._pixels[path]

    def blank(self) -> tuple[np.ndarray, np.ndarray]:
        """As `pixels`, of the smallest image that has a feature: all of it zero."""
        processor = self.processor.image_processor
        side = processor.merge_size
        return (np.zeros((side**2, 3 * processor.temporal_patch_size * processor.patch_size**2), np.float32),
                np.array([1, side, side]))

    def response_ids(self, text: str) -> np.ndarray:
        """int32 [tokens]: a response as the model should write it, the end token included."""
        return np.array([*self.tokenizer(text, add_special_tokens=False).input_ids, self.eos], np.int32)

    def text_with_offsets(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """The text of response tokens, and for each token how many characters stand once it is written (int32).

        A character whose bytes are spread over tokens belongs to the token that completes it. The end token has none.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text, ends = "", []
        for token in ids.tolist():
            text += decoder.decode(self._bytes[token])
            ends.append(len(text))
        return text, np.array(ends, np.int32)

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each token id writes, in bytes; nothing for special tokens."""
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        unicode_to_byte = {char: byte for byte, char in bytes_to_unicode().items()}
        added = self.tokenizer.added_tokens_decoder
        table = []
        for index, token in enumerate(self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))):
            if index in added:
                table.append(b"" if added[index].special else added[index].content.encode())
            else:
                table.append(bytes(unicode_to_byte[char] for char in token))
        return table + [b""] * 4096  # ids that only pad the vocabulary write nothing
