"""Policies that are read beside the one that is trained: the reference that KL is measured from, and teachers.

A reference is a copy of the policy or, if only adapters are trained, the policy with other adapters. A teacher is the
model of another folder, and so may a reference be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from actors.model.lora import adapters_applied
from actors.model.policy import Policy


class FrozenPolicy:
    """A policy that is not trained, whole on every rank, even if ZeRO shards the one that is.

    Args:
        copy: a policy; it is frozen.
        state: the weights that it takes, of a policy of the same folder; None for those of its own folder.
        device: where it works.
        idle_device: where it stays between two uses; may be `device`.
    """

    def __init__(
        self, copy: Policy, state: Mapping[str, Tensor] | None, device: torch.device, idle_device: torch.device
    ) -> None:
        self.copy = copy
        self.device = device
        self.idle_device = idle_device
        if state is not None:
            copy.load_state(state)
        copy.to(idle_device).requires_grad_(False).eval()

    @contextmanager
    def loaded(self) -> Iterator[Policy]:
        """The policy, ready for use inside the `with` block."""
        parameters = list(self.copy.parameters())
        resting = [parameter.data for parameter in parameters]
        self.copy.to(self.device)
        try:
            yield self.copy
        finally:
            for parameter, data in zip(parameters, resting, strict=True):  # unchanged, so nothing is copied back
                parameter.data = data
            self.copy.to(self.idle_device)

    def state(self) -> dict[str, Tensor]:
        """Its weights, on the CPU."""
        return self.copy.state()


class AdapterReference:
    """The policy with the adapters that it had at an earlier time. Every rank must take part in each call."""

    def __init__(self, policy: Policy, adapters: Mapping[str, Tensor]) -> None:
        self.policy = policy
        self.adapters = dict(adapters)

    @contextmanager
    def loaded(self) -> Iterator[Policy]:
        """The policy with the reference's adapters inside the `with` block, with its own again afterwards."""
        with adapters_applied(self.policy.model, self.adapters):
            yield self.policy

    def state(self) -> dict[str, Tensor]:
        """The reference's adapters, on the CPU."""
        return self.adapters
