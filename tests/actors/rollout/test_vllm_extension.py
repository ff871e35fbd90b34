"""The mask of forbidden tokens in vLLM's second model runner. The rest of the extension is tested in test_worker.py."""

from types import SimpleNamespace

import numpy as np
import torch

from actors.rollout import vllm_extension


def test_the_model_runner_of_gpus_takes_the_mask(monkeypatch):
    """What it makes of the classes that it is given; a whole engine with it is tested in test_worker.py."""
    from vllm.v1.worker.gpu.sample.logits_processor import build_custom_logits_processors

    monkeypatch.setattr(vllm_extension, "_die_with_parent", lambda: None)
    requests = SimpleNamespace(
        device=torch.device("cpu"),
        max_num_reqs=1,
        vocab_size=5,
        all_token_ids=None,
        prompt_len=None,
        prefill_len=None,
        total_len=None,
    )
    config = SimpleNamespace(additional_config={vllm_extension.FORBIDDEN_KEY: [1, 3]})
    (mask,) = build_custom_logits_processors(config, requests, False, (vllm_extension.TokenMask,))
    assert mask.add_request(0, None) and mask.apply(torch.zeros(1, 5), None).tolist() == [[0, -np.inf, 0, -np.inf, 0]]


def test_the_mask_takes_no_memory_of_the_device_before_the_first_logits(monkeypatch):
    """The second model runner makes it in the weights' memory, which is lost when the engine sleeps."""
    monkeypatch.setattr(vllm_extension, "_die_with_parent", lambda: None)
    config = SimpleNamespace(additional_config={vllm_extension.FORBIDDEN_KEY: [1]})
    mask = vllm_extension.TokenMask(config, SimpleNamespace(device=torch.device("meta")))
    assert mask.forbidden.device.type == "cpu"
    assert mask.apply(torch.zeros(1, 3)).tolist() == [[0, -np.inf, 0]]
    assert mask.apply(torch.zeros(1, 3, device="meta")).device.type == "meta"
