"""What each token of a vocabulary writes, in bytes: for byte-level tokenizers (Qwen, SmolLM2, Llama 3) and for those of
SentencePiece's kind with byte fallback (Gemma, Llama 2)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class TokenBytes(NamedTuple):
    """`table`: bytes by token id, none for special tokens; `strips`: whether the decoder drops a space that begins a text."""

    table: list[bytes]
    strips: bool


def token_bytes(tokenizer: Any) -> TokenBytes:
    """Reads the decoder of a tokenizer of the `tokenizers` library.

    Raises:
        ValueError: it decodes in a way that is not known here.
    """
    steps = _steps(json.loads(tokenizer.backend_tokenizer.decoder.__getstate__()))
    kinds = [step["type"] for step in steps]
    strips = any(
        step["type"] == "Strip"
        and step["start"] == 1
        or step["type"] == "Metaspace"
        and step.get("prepend_scheme") != "never"
        for step in steps
    )
    if unknown := set(kinds) - {"ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}:
        raise ValueError(f"the tokenizer's decoder has the step {min(unknown)}, which is not known here")
    write = _byte_level() if "ByteLevel" in kinds else _sentence_piece(steps, "ByteFallback" in kinds)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    table = [write(token) if token is not None else b"" for token in tokens]
    for index, token in tokenizer.added_tokens_decoder.items():
        if token.special:
            table[index] = b""
    return TokenBytes(table, strips)


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    return (
        [part for inner in decoder["decoders"] for part in _steps(inner)]
        if decoder["type"] == "Sequence"
        else [decoder]
    )


def _byte_level() -> Callable[[str], bytes]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    # Tokens that were added to the vocabulary are written as they are.
    return lambda token: bytes(byte_of[char] for char in token) if byte_of.keys() >= set(token) else token.encode()


def _sentence_piece(steps: list[dict[str, Any]], fallback: bool) -> Callable[[str], bytes]:
    spaces = [
        (step["pattern"]["String"], step["content"]) if step["type"] == "Replace" else (step["replacement"], " ")
        for step in steps
        if step["type"] in ("Replace", "Metaspace")
    ]

    def write(token: str) -> bytes:
        if fallback and (byte := _BYTE.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        for pattern, content in spaces:
            token = token.replace(pattern, content)
        return token.encode()

    return write
