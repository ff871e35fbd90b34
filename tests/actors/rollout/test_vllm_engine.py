"""What an engine has from its process, and its numbers in 16 bits. For the rest: test_worker.py, test_families.py."""

import asyncio

import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.rollout.config import RolloutConfig
from actors.rollout.probe import probe_fault
from actors.rollout.vllm_engine import VllmEngine, engine_environment
from tests.support.engines.probes import probe_of


def test_an_engine_on_a_cpu_has_threads_of_its_own_and_one_on_a_gpu_vllms_defaults():
    told = engine_environment(RolloutConfig(threads=3, kv_cache_gib=2))
    assert told["OMP_NUM_THREADS"] == "3" and told["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert engine_environment(RolloutConfig(gpus=1)) == {}


def test_in_bfloat16_an_engine_with_the_learners_weights_passes_and_one_with_others_does_not(tiny_model, phantom_tasks):
    """By the default tolerance."""
    config = RolloutConfig(dtype="bfloat16")
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.bfloat16)
    probe = probe_of(policy, phantom_tasks[:8])
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    others = probe_of(policy, phantom_tasks[:8])

    async def differences():
        engine = VllmEngine(config, str(tiny_model), policy.encoder, 1)
        try:
            return [await engine.compare(probe), await engine.compare(others)]
        finally:
            engine.llm.shutdown()

    right, wrong = asyncio.run(differences())
    assert not probe_fault(right, config.tolerance) and probe_fault(wrong, config.tolerance)
    assert right.mean > 1e-5, "both sides were in float32"
