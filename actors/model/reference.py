"""The policy that KL is measured from: a copy, or, where adapters are all that differs, the policy itself with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from actors.model.lora import worn
from actors.model.policy import Policy


class CopiedReference:
    """A whole copy on every rank, also where ZeRO shards the policy. Between two uses it `rests` on another device, or not."""

    def __init__(self, copy: Policy, state: Mapping[str, Tensor], device: torch.device, rests: torch.device) -> None:
        self.copy, self.device, self.rests = copy, device, rests
        copy.load_state(state)
        copy.to(rests).requires_grad_(False).eval()

    @contextmanager
    def at_work(self) -> Iterator[Policy]:
        self.copy.to(self.device)
        try:
            yield self.copy
        finally:
            self.copy.to(self.rests)

    def state(self) -> dict[str, Tensor]:
        return self.copy.state()


class AdapterReference:
    """The policy with the adapters that it had. Every rank takes part in all of it."""

    def __init__(self, policy: Policy, adapters: Mapping[str, Tensor]) -> None:
        self.policy, self.adapters = policy, dict(adapters)

    @contextmanager
    def at_work(self) -> Iterator[Policy]:
        with worn(self.policy.model, self.adapters):
            yield self.policy

    def state(self) -> dict[str, Tensor]:
        return self.adapters
