"""Kernels of vLLM's small layers on a CPU, and products for adapters, give what vLLM's own PyTorch operators give, and
seeds drawn ahead its very samples.
"""

import pytest
import torch
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

from actors.rollout.vllm_cpu import KernelMRotaryEmbedding, KernelRMSNorm, KernelSiluAndMul, OnlyAdapters, SeedsAhead

if not current_platform.is_cpu():
    pytest.skip("vLLM is built for GPUs here", allow_module_level=True)


@pytest.fixture(autouse=True)
def config():
    torch.manual_seed(0)
    current_platform.import_kernels()
    with set_current_vllm_config(VllmConfig()):
        yield


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cut", [slice(None), slice(16)])  # the second is not contiguous
def test_rms_norm(cut):
    x, residual = torch.randn(2, 5, 32)[..., cut]
    norm = KernelRMSNorm(x.shape[-1])
    norm.weight.data.normal_()
    close(norm.forward_cpu(x), norm.forward_native(x))
    want = norm.forward_native(x.clone(), residual.clone())
    got = norm.forward_cpu(x, residual)
    close(got[0], want[0])
    close(got[1], want[1])


@pytest.mark.parametrize("cut", [slice(None), slice(16)])
def test_silu_and_mul(cut):
    x = torch.randn(5, 32)[:, cut]
    gate = KernelSiluAndMul()
    close(gate.forward_cpu(x), gate.forward_native(x))


@pytest.mark.parametrize(
    "positions",
    [torch.arange(5), torch.arange(5).expand(3, 5), torch.tensor([[0, 1, 1, 1, 2], [0, 1, 1, 2, 3], [0, 1, 2, 1, 4]])],
)
def test_rotation_by_one_and_by_three_positions(positions):
    rotary = KernelMRotaryEmbedding(16, 16, 64, 10_000.0, True, torch.float32, mrope_section=[2, 3, 3])
    query, key = torch.randn(5, 4 * 16), torch.randn(5, 2 * 16)
    want = rotary.forward_native(positions, query.clone(), key.clone())
    got = rotary.forward_cpu(positions, query.clone(), key.clone())
    close(got[0], want[0])
    close(got[1], want[1])


@pytest.mark.parametrize("mode", ["raw_logprobs", "processed_logprobs", "processed_logits"])
@pytest.mark.parametrize("top_k", [None, 3])
def test_samples_are_those_of_vllm(mode, top_k):
    """Requests come and go, change their places, and stand beside one without a seed, whose noise is the process's
    own.
    """

    def tokens(kind):
        torch.manual_seed(1)
        sampler, requests = kind(mode), {seed: torch.Generator().manual_seed(seed) for seed in range(4)}
        draw, out = torch.Generator().manual_seed(2), []
        for step in range(2 * SeedsAhead.COUNT + 3):
            present = [seed for seed in torch.randperm(4, generator=draw).tolist() if (step + seed) % 5]
            logits = torch.randn(len(present) + 1, 11, generator=draw)
            k = None if top_k is None else torch.full((len(logits),), top_k)
            out.append(sampler(logits, {place: requests[seed] for place, seed in enumerate(present)}, k, None))
        return out

    for (got, kept), (want, kept_by_vllm) in zip(tokens(SeedsAhead), tokens(TopKTopPSampler), strict=True):
        assert torch.equal(got, want)
        assert (kept is None) == (kept_by_vllm is None) and (kept is None or torch.equal(kept, kept_by_vllm))


@pytest.mark.parametrize("number", [0, 1], ids=["no adapters", "adapters"])
def test_adapters_of_slices_side_by_side(number):
    x, before, widths = torch.randn(5, 32), torch.randn(5, 24), (16, 8)
    a, b = ([torch.randn(1, 1, *shape) for shape in shapes] for shapes in ([(4, 32)] * 2, [(16, 4), (8, 4)]))
    results = []
    for wrapper in (PunicaWrapperCPU, OnlyAdapters):
        adding = wrapper(64, 8, torch.device("cpu"))
        adding.update_metadata(LoRAMapping((number,) * 5, (number,) * 2, is_prefill=True), [1], 2, 640)
        results.append(before.clone())
        adding.add_lora_linear(results[-1], x, tuple(a), tuple(b), 0.5, widths)
    close(results[1], results[0])
    assert torch.equal(results[1], before) == (number == 0)
