"""Which arguments of vLLM's engine a recipe may pass on (`rollout.engine`), and which ones it may not, and why."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

SETTINGS = {
    "model": "model.path",
    "dtype": "rollout.dtype",
    "max_model_len": "rollout.max_model_tokens",
    "max_num_seqs": "rollout.max_sequences",
    "max_num_batched_tokens": "rollout.max_batched_tokens",
    "tensor_parallel_size": "rollout.gpus",
    "data_parallel_size": "rollout.workers",
    "gpu_memory_utilization": "rollout.gpu_memory",
    "enable_sleep_mode": "rollout.sleep",
    "mm_processor_kwargs": "model.max_pixels",
    "seed": "seed",
    "enable_lora": "learner.lora",
    "max_loras": "learner.lora",
    "max_lora_rank": "learner.lora",
    "lora_dtype": "rollout.dtype",
    "lora_target_modules": "learner.lora",
    "enable_tower_connector_lora": "learner.lora",
}
"""Arguments that have a setting of their own."""
PROMISES = {
    "logprobs_mode": "the learner needs the log-probabilities that tokens were sampled with",
    "logits_processors": "the mask of forbidden tokens is one",
    "additional_config": "the mask of forbidden tokens comes by it",
    "worker_extension_cls": "new weights come by it",
    "weight_transfer_config": "new weights come by another way",
    "worker_cls": "new weights come by it",
    "load_format": "weights are read from safetensors alone",
    "trust_remote_code": "code from a model folder is never run",
    "hf_overrides": "the engine must be the learner's model, with logits in float32",
    "limit_mm_per_prompt": "the tasks' images decide",
    "kv_sharing_fast_prefill": "it makes prompt log-probabilities wrong, by which workers prove what they hold",
    "pipeline_parallel_size": "new weights are verified on one stage alone",
    "distributed_executor_backend": "the worker's processes must end with it",
    "skip_tokenizer_init": "end tokens would not be known",
    "enable_log_requests": "prompts are patient data",
}
"""Arguments that would break what a run promises."""
SPECULATIVE = ("speculative_config", "spec_method", "spec_model", "spec_tokens")


def check_engine_options(options: Mapping[str, Any], gpus: float) -> None:
    """Raises ValueError: vLLM has no such argument, or a run cannot pass it on."""
    names = engine_arguments()
    for name in options:
        if name in SETTINGS:
            raise ValueError(f"{name}: {SETTINGS[name]} sets it")
        if name in PROMISES:
            raise ValueError(f"{name} cannot be set: {PROMISES[name]}")
        if name in SPECULATIVE and not gpus:
            raise ValueError(f"{name}: on a CPU vLLM masks no tokens while it decodes speculatively; it needs GPUs")
        if names and name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{name}: vLLM's engine has no such argument{hint}")


@cache
def engine_arguments() -> frozenset[str]:
    """The arguments of the installed vLLM's engine; none if there is no vLLM. Read from its source, since importing it
    takes ten seconds.
    """
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return frozenset()
    source = Path(found.origin).parent / "engine" / "arg_utils.py"
    names: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs"):
            fields = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
            names |= {field.id for field in fields if isinstance(field, ast.Name) and not field.id.startswith("_")}
    return frozenset(names)
