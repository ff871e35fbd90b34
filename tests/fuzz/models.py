"""Visits with a spoilt model folder: its settings, its tokenizer, its chat template, the header of its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from hypothesis import strategies as st

from tests.fuzz.commands import PLAN, Visits
from tests.fuzz.corpus import JSON_PIECES, Corpus, recipes
from tests.fuzz.door import Visit
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree

TEMPLATE_PIECES = [
    b"{{ raise_exception('no system') }}",
    b"{{ messages[7].content }}",
    b"{{ 1 / 0 }}",
    b"{%- endif -%}",
    b"{% for",
    b"{{ x.y.z }}",
    b"<think>\n",
    b"<think></think>",
    b"{{ strftime_now('%Y') }}",
    b"{{ messages | tojson }}",
    b"<|im_start|>",
    b"<|eot_id|>",
    b"<|image_pad|>",
    b"{% set messages = [] %}",
    b"{{ ''.__class__.__mro__ }}",
    b"{# ",
    b"{% include 'x' %}",
    b"{% generation %}",
    b"{{ message.content | trim }}",
    b"{% if enable_thinking %}",
    b"{{ range(10**9) | list }}",
    b"{{ 'a' * 10 }}",
    b"{% break %}",
]
TEXTS = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json")


def model_folders(corpus: Corpus) -> Visits:
    right = {path.name: path for path in corpus.model.iterdir()}
    recipe = yaml.safe_dump(recipes()[-1]).encode()
    choices = [_of_json(name, right[name].read_bytes()) for name in TEXTS]
    template = right["chat_template.jinja"].read_bytes()
    templates = odd_bytes([template], TEMPLATE_PIECES).map(lambda content: {"chat_template.jinja": content})
    weights = _weights(right["model.safetensors"])
    spoilt = st.one_of([templates, templates, templates, *choices, weights])

    def visit(files: Mapping[str, bytes]) -> Visit:
        links = {f"model/{name}": path for name, path in right.items() if name not in files}
        return Visit(
            PLAN, {"recipe.yaml": recipe, **{f"model/{name}": content for name, content in files.items()}}, links
        )

    return spoilt.map(visit)


def _of_json(name: str, content: bytes) -> st.SearchStrategy[dict[str, bytes]]:
    trees = odd_tree([json.loads(content)], JSON_VALUES).map(lambda tree: json.dumps(tree).encode())
    return (trees | trees | odd_bytes([content], JSON_PIECES)).map(lambda spoilt: {name: spoilt})


def _weights(path: Path) -> st.SearchStrategy[dict[str, bytes]]:
    """Files of weights with a spoilt header and little or nothing behind it."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    trees = odd_tree([json.loads(header)], JSON_VALUES).map(lambda tree: json.dumps(tree).encode())
    lengths = st.sampled_from([None, None, 0, 7, 10**6, 2**63, 2**64 - 1])

    def written(header: bytes, length: int | None) -> dict[str, bytes]:
        said = len(header) if length is None else length
        return {"model.safetensors": said.to_bytes(8, "little") + header + b"\0" * 64}

    return st.builds(written, trees | odd_bytes([header], JSON_PIECES), lengths)
