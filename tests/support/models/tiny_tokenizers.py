"""Tokenizers and chat templates of the tiny families, in the forms that the real ones have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from actors.model.tiny_model import PLAIN_TOKENS

IMAGES_FIRST = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% for part in message.content if part.type == 'image' %}<image>
{% endfor %}{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
NAMED_TURNS = """\
<|im_start|>{% for message in messages -%}
{{ message.role | capitalize }}{{ ':' if message.content[0].type == 'image' else ': ' }}
{%- for part in message.content -%}{{ part.text if part.type == 'text' else '<image>' }}{%- endfor -%}<end_of_utterance>
{% endfor -%}
{%- if add_generation_prompt -%}Assistant:{%- endif -%}"""
SYSTEM_IN_USER = """\
{{ bos_token }}
{%- if messages[0].role == 'system' -%}
{%- set prefix = messages[0].content[0].text + '\n\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set prefix = '' -%}{%- set turns = messages -%}{%- endif -%}
{%- for message in turns -%}
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{{ prefix if loop.first else '' }}
{%- if message.content is string -%}{{ message.content | trim }}
{%- else -%}
{%- for part in message.content -%}{{ '<start_of_image>' if part.type == 'image' else part.text | trim }}{%- endfor -%}
{%- endif -%}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}"""
ROLE_TOKENS = """\
[gMASK]<sop>
{%- for message in messages -%}
<|{{ message.role }}|>
{% for part in message.content -%}
{{ '<|begin_of_image|><|image|><|end_of_image|>' if part.type == 'image' else part.text }}
{%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{% endif -%}"""
TURN_TOKENS = """\
{{ bos_token }}
{%- for message in messages -%}
<|turn>{{ 'model' if message.role == 'assistant' else message.role }}
{% for part in message.content -%}
{{ '\n\n<|image|>\n\n' if part.type == 'image' else part.text | trim }}
{%- endfor -%}<turn|>
{% endfor -%}
{%- if add_generation_prompt -%}<|turn>model
{% endif -%}"""
TEXT_TURNS = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
INSTRUCTIONS = """\
{{ bos_token }}{% for message in messages -%}
{{ ' ' + message.content + ' ' + eos_token if message.role == 'assistant'
   else '[INST] ' + message.content + ' [/INST]' }}
{%- endfor -%}"""


def byte_level(
    texts: Sequence[str], special: Sequence[str], end: str, pad: str = "<|endoftext|>", **tokens: Any
) -> Any:
    """A tokenizer like those of Qwen, SmolLM2 and Llama 3."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=list(special),
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    bpe.add_tokens([AddedToken(token, normalized=False) for token in PLAIN_TOKENS])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=list(special),
        model_max_length=4096,
        **tokens,
    )


def sentence_piece(
    texts: Sequence[str], special: Sequence[str], plain: Sequence[str], prefix: bool, **tokens: Any
) -> Any:
    """A tokenizer like Gemma's or, if it puts a space before every text (`prefix`), like Llama 2's.

    Spaces are written "▁", unknown characters as bytes.
    """
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix else "never")
    trained.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=700, special_tokens=list(special), show_progress=False)
    )
    state = json.loads(trained.to_str())["model"]
    vocabulary = dict(state["vocab"])
    for token in ("\n", "▁", *(f"<0x{byte:02X}>" for byte in range(256))):
        vocabulary.setdefault(token, len(vocabulary))
    bpe = Tokenizer(
        models.BPE(
            vocabulary, [tuple(pair) for pair in state["merges"]], unk_token="<unk>", byte_fallback=True, fuse_unk=True
        )
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        steps.append(decoders.Strip(" ", left=1))
    else:
        bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.decoder = decoders.Sequence(steps)
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    bpe.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return hf.PreTrainedTokenizerFast(tokenizer_object=bpe, model_max_length=4096, unk_token="<unk>", **tokens)
