"""A judge that the run serves itself: a model folder in vLLM's engine, in workers of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import engine_environment
from rewards.calls.chat import whole
from rewards.custom_rules import RuleFault
from rewards.judge.judge import WHO, Judge, check_shared_options, score_format
from rewards.judge.parse import SCORE
from rewards.judge.prompt import PROMPT, SYSTEM, PromptTemplate


class ServedJudge(Judge):
    """Asks a model in this process for a score. Must be made inside a running event loop.

    The options that it shares with `Judge` mean the same.

    Args:
        path: the model's folder.
        gpus: the rule's `gpus` in the recipe; above 1 they hold one copy of the model together. 0 computes on the CPU.
        dtype: of its weights.
        max_model_tokens: of prompt and answer together.
        gpu_memory: the share of its GPU that it may fill.
        threads, kv_cache_gib: of an engine on the CPU.
    """

    def __init__(
        self,
        *,
        path: str,
        gpus: float = 0,
        dtype: str = "auto",
        max_model_tokens: int = 4096,
        gpu_memory: float = 0.9,
        threads: int = 1,
        kv_cache_gib: int = 1,
        prompt: str = PROMPT,
        system: str = SYSTEM,
        score_regex: str = SCORE,
        score_key: str = "",
        score_range: Sequence[float] = (0, 10),
        max_tokens: int = 512,
        temperature: float = 0.0,
        chat_template: dict[str, Any] | None = None,
    ) -> None:
        self.system = system
        self.max_tokens, self.temperature = max_tokens, temperature
        self.max_model_tokens = max_model_tokens
        self.chat_template = dict(chat_template or {})
        self.template = PromptTemplate(prompt)
        self.format = score_format(score_regex, score_key, score_range)
        self._numbers = count()
        config = RolloutConfig(gpus=gpus, threads=threads, kv_cache_gib=kv_cache_gib, gpu_memory=gpu_memory)
        self._engine = _engine(path, dtype, max_model_tokens, config)
        self._tokenizer = self._engine.get_tokenizer()

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raises ValueError if an option cannot be used."""
        folder = Path(str(options.get("path")))
        if not (folder / "config.json").is_file():
            raise ValueError(f"path: {folder} is no model folder: it has no config.json")
        check_shared_options(options)

    async def ask(self, prompt: str) -> str:
        """The model's answer to a prompt.

        Raises:
            RuleFault: the prompt is too long, or the answer is empty or cut off.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        ids = self._tokenizer.apply_chat_template(
            self.messages(prompt), add_generation_prompt=True, tokenize=True, return_dict=False, **self.chat_template
        )
        if len(ids) + self.max_tokens > self.max_model_tokens:
            raise RuleFault(
                f"the judge's prompt has {len(ids)} tokens; with max_tokens {self.max_tokens} that is more than "
                f"max_model_tokens {self.max_model_tokens}"
            )
        sampling = SamplingParams(
            max_tokens=self.max_tokens, temperature=self.temperature, output_kind=RequestOutputKind.FINAL_ONLY
        )
        request = f"judge-{next(self._numbers)}"
        outputs = [output async for output in self._engine.generate({"prompt_token_ids": ids}, sampling, request)]
        answer = outputs[-1].outputs[0]
        return whole(WHO, answer.text, answer.finish_reason, self.max_tokens)


def _engine(path: str, dtype: str, max_model_tokens: int, config: RolloutConfig) -> Any:
    """vLLM's engine on a folder, with as many GPUs as the configuration has."""
    os.environ.update(engine_environment(config))
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments: dict[str, Any] = dict(
        model=path,
        dtype=dtype,
        max_model_len=max_model_tokens,
        load_format="safetensors",  # a pickle from elsewhere could run anything
        enable_log_requests=False,
        disable_log_stats=True,
        seed=0,
    )
    if config.gpus:
        arguments |= dict(
            tensor_parallel_size=max(1, int(config.gpus)), gpu_memory_utilization=config.gpu_share, enforce_eager=False
        )
    else:
        arguments |= dict(enforce_eager=True, distributed_executor_backend="uni")
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
