"""Weights straight from the learner's rank 0 into the engines' processes. Who takes part is settled at the weight store."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import ray
import torch

from actors.runtime.remote import RemoteFailure, wait_for
from actors.weights.process_group import CollectiveError, WeightGroup
from actors.weights.store import Offer, Probe, Version, Waiting

MEET_S = 20.0  # that workers, which were told before the learner, may be late


class Sent(NamedTuple):
    """`reached`: how many workers a version went to; `news`: why not all, in words."""

    reached: int
    news: list[str]


class Broadcaster:
    """Rank 0's side. The group of one version stays for the next, where the same workers come.

    Args:
        limit_s: the longest that one bucket may take, or that all join; a worker that is lost is left behind after it.
    """

    def __init__(self, store: Any, device: torch.device, limit_s: float) -> None:
        self.store, self.limit_s = store, limit_s
        # A number names the GPU for NCCL's threads, whatever their own is.
        self.device = torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device
        self.group: WeightGroup | None = None
        self.offers: dict[str, Offer] = {}  # of the group, by the worker's actor

    def send(
        self, version: Version, parts: Iterable[Mapping[str, torch.Tensor]], probe: Probe, receivers: Mapping[str, str]
    ) -> Sent:
        """All of `parts`, whatever becomes of the group, to as many receivers as come. Who gets none finds the version at the
        store once it is there.

        Args:
            receivers: names by actor.
        """
        news: list[str] = []
        here: dict[str, Waiting] = {}
        rest = iter(parts)
        try:
            here = self._meet(version, probe, receivers)
            if late := [name for who, name in receivers.items() if who not in here]:
                news.append(
                    f"{' and '.join(late)} did not come for weights version {version}, and will find it at the store"
                )
            if here:
                for part in rest:
                    self.group.send(part)
                    del part
                self.group.send({})
        except (CollectiveError, RemoteFailure) as error:
            self.close()
            here = {}
            news.append(f"weights version {version} goes through the store, since its broadcast failed: {error}")
        deque(rest, maxlen=0)  # the other ranks take part in all of them
        return Sent(len(here), news)

    def close(self) -> None:
        if self.group is not None:
            self.group.close()
        self.group, self.offers = None, {}

    def _meet(self, version: Version, probe: Probe, receivers: Mapping[str, str]) -> dict[str, Waiting]:
        """Those who have come, and stand in the group."""
        here: dict[str, Waiting] = wait_for(
            self.store.invite.remote(version, list(receivers), MEET_S), MEET_S + 10, "the weight store"
        )
        again = (
            self.group is not None
            and here.keys() == self.offers.keys()
            and all(waiting.group == self.offers[who].group for who, waiting in here.items())
        )
        if not again:
            self.close()
        if not here:
            return here
        if not again:
            self._open(here, receivers)
        offers = {who: offer._replace(probe=probe) for who, offer in self.offers.items()}
        wait_for(self.store.offer.remote(version, offers), 10, "the weight store")
        if not again:
            self.group.join()
        return here

    def _open(self, here: Mapping[str, Waiting], receivers: Mapping[str, str]) -> None:
        names, firsts = ["learner rank 0"], {}
        for who, waiting in here.items():
            firsts[who] = len(names)
            names += [receivers[who] + (f" rank {rank}" if waiting.ranks > 1 else "") for rank in range(waiting.ranks)]
        address, name = ray.util.get_node_ip_address(), uuid.uuid4().hex
        self.group = WeightGroup(address, 0, 0, names, self.device, self.limit_s)
        self.offers = {
            who: Offer(name, address, self.group.port, first, names, self.limit_s, []) for who, first in firsts.items()
        }
