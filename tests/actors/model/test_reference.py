import pytest
import torch

from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.lora import adapt, adapters
from actors.model.policy import Policy
from actors.model.reference import AdapterReference, FrozenPolicy

CPU = torch.device("cpu")


@pytest.fixture
def policy(tiny_model):
    return Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32)


def test_a_copy_keeps_the_weights_it_took(policy, tiny_model):
    before = {name: value.clone() for name, value in policy.state().items()}
    reference = FrozenPolicy(Policy(tiny_model, policy.encoder, torch.float32), before, CPU, CPU)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(1)
    with reference.loaded() as loaded:
        assert loaded is not policy and not any(parameter.requires_grad for parameter in loaded.parameters())
        assert all(value.equal(before[name]) for name, value in loaded.state().items())
    assert all(value.equal(before[name]) for name, value in reference.state().items())


def test_adapters_are_put_back_even_after_an_error(policy):
    torch.manual_seed(0)
    adapt(policy.model, Lora(rank=2, alpha=4))
    reference = AdapterReference(policy, adapters(policy.model))
    plain = policy.state()
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if ".lora_B." in name:
                parameter.add_(0.1)
    trained = policy.state()
    assert any(not value.equal(plain[name]) for name, value in trained.items())
    with pytest.raises(OSError, match="lost"), reference.loaded() as loaded:
        assert all(value.equal(plain[name]) for name, value in loaded.state().items())
        raise OSError("lost")
    assert all(value.equal(trained[name]) for name, value in policy.state().items())
