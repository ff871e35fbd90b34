"""The script that makes a model folder of published weights in GGUF, on a tiny Llama. Nothing is downloaded."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from actors.model.encode import Encoder, PromptConfig
from cluster import load_recipe
from curriculum.task import Task

ROOT = Path(__file__).parents[2]
SCRIPT = importlib.util.spec_from_file_location("smollm2", ROOT / "scripts/smollm2.py")
smollm2 = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(smollm2)

BYTES = [chr(c) if 33 <= c < 127 or 161 <= c < 173 or 174 <= c < 256 else None for c in range(256)]
"""GPT-2's letter of each byte; bytes without a printable letter take those from 256 on."""
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def tokens():
    free = iter(range(256, 512))
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(letter or chr(next(free)) for letter in BYTES), "th"]


def tiny():
    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
    more = dict(num_key_value_heads=2, vocab_size=len(tokens()), max_position_embeddings=512)
    return LlamaForCausalLM(LlamaConfig(**sizes, **more, tie_word_embeddings=True, eos_token_id=2)).eval()


def test_a_model_that_is_marked_as_quantised_is_copied_without_the_mark(tmp_path):
    read = tiny()
    read.config.quantization_config = {"quant_method": "gguf"}
    smollm2.plain_copy(read).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not hasattr(loaded.config, "quantization_config") and loaded.dtype == torch.float32
    ids = torch.arange(20)[None]
    assert torch.equal(loaded(ids).logits, read(ids).logits)


def interleaved(weight, heads):
    """The rows of a query or key projection in GGUF's order: halves of each head that rotate together alternate."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(gguf, model, path):
    """The model as llama.cpp's converter writes it, without quantisation."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens())
    writer.add_token_types([3, 3, 3, *[1] * 257])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(config.num_hidden_layers):
        names |= {f"model.layers.{layer}.{own}.weight": f"blk.{layer}.{theirs}.weight" for own, theirs in NAMES.items()}
    state = model.state_dict()
    for own, theirs in names.items():
        weight = state[own].numpy().astype(np.float32)
        projection = own.split(".")[-2]
        writer.add_tensor(theirs, interleaved(weight, heads[projection]) if projection in heads else weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_becomes_a_folder_that_a_run_can_read(tmp_path):
    gguf = pytest.importorskip("gguf", reason="the script fetches the package gguf when it runs; here it is missing")
    model = tiny()
    write_gguf(gguf, model, tmp_path / "tiny.gguf")
    smollm2.convert(tmp_path / "tiny.gguf", tmp_path / "folder")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    ids = torch.arange(20)[None]
    assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "folder")("the")["input_ids"] == [259, 3 + ord("e")]
    task = Task(id="t", domain="open", family="f", question="Is é stated?", gold=(), images=())
    prompt = Encoder(tmp_path / "folder", PromptConfig()).prompt_ids(task)
    assert 1 in prompt and len(prompt) > len(task.question)


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(SystemExit, match="is there already"):
        smollm2.main(tmp_path)


def test_the_recipe_asks_what_the_importer_writes():
    recipe = load_recipe(ROOT / "recipes/reports_smollm2.yaml")
    assert set(recipe.tested_families) == {"report_binary", "report_findings"}
    page = (ROOT / "docs/reports-smollm2.md").read_text(encoding="utf-8")
    assert f"scripts/smollm2.py {recipe.model.path}\n" in page and f"--out {recipe.data.tasks}\n" in page
