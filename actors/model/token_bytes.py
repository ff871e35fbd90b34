"""The bytes that each token of a vocabulary writes.

For byte-level tokenizers (Qwen, SmolLM2, Llama 3) and for those of SentencePiece's kind with byte fallback (Gemma,
Llama 2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_KNOWN_STEPS = {"ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}


class TokenBytes(NamedTuple):
    """What the tokens of a vocabulary write.

    Attributes:
        table: bytes by token id; empty for special tokens.
        strips: whether the decoder drops a space at the start of a text.
    """

    table: list[bytes]
    strips: bool


def token_bytes(tokenizer: Any) -> TokenBytes:
    """Reads the decoder of a tokenizer of the `tokenizers` library.

    Raises:
        ValueError: the decoder has a step that is not known here.
    """
    steps = _flat_steps(json.loads(tokenizer.backend_tokenizer.decoder.__getstate__()))
    kinds = {step["type"] for step in steps}
    unknown = kinds - _KNOWN_STEPS
    if unknown:
        raise ValueError(f"the tokenizer's decoder has the step {min(unknown)}, which is not known here")
    write = _byte_level() if "ByteLevel" in kinds else _sentence_piece(steps, "ByteFallback" in kinds)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    table = [b"" if token is None else write(token) for token in tokens]
    for index, token in tokenizer.added_tokens_decoder.items():
        if token.special:
            table[index] = b""
    return TokenBytes(table, any(map(_strips_first_space, steps)))


def _flat_steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a decoder, those of nested sequences included, in order."""
    if decoder["type"] != "Sequence":
        return [decoder]
    steps = []
    for inner in decoder["decoders"]:
        steps += _flat_steps(inner)
    return steps


def _strips_first_space(step: dict[str, Any]) -> bool:
    if step["type"] == "Strip":
        return step["start"] == 1
    return step["type"] == "Metaspace" and step.get("prepend_scheme") != "never"


def _byte_level() -> Callable[[str], bytes]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}

    def write(token: str) -> bytes:
        if byte_of.keys() >= set(token):
            return bytes(byte_of[char] for char in token)
        return token.encode()  # it was added to the vocabulary, where it stands as it is written

    return write


def _sentence_piece(steps: Sequence[dict[str, Any]], byte_fallback: bool) -> Callable[[str], bytes]:
    replacements = []
    for step in steps:
        if step["type"] == "Replace":
            replacements.append((step["pattern"]["String"], step["content"]))
        elif step["type"] == "Metaspace":
            replacements.append((step["replacement"], " "))

    def write(token: str) -> bytes:
        byte = _BYTE.fullmatch(token) if byte_fallback else None
        if byte:
            return bytes([int(byte[1], 16)])
        for pattern, content in replacements:
            token = token.replace(pattern, content)
        return token.encode()

    return write
