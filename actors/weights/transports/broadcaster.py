"""The sender of the collective transport: rank 0's side of a broadcast into the engines' processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

import ray
import torch

from actors.runtime.remote import RemoteFailure, wait_for
from actors.weights.process_group import CollectiveError, WeightGroup
from actors.weights.store import Offer, Waiting
from actors.weights.transports.base import Sender, SenderContext, Sent
from actors.weights.version import Probe, Version

MEET_S = 20.0  # grace for workers to come, which the run told of the version before the learner
STORE_S = 10.0  # for the weight store's answer


class Broadcaster(Sender):
    """Rank 0's side. The group that was opened for one version serves the next if the same workers come.

    One bucket may take at most `context.silent_s`, and so may joining; a worker that is lost is left behind after it.
    """

    def __init__(self, context: SenderContext) -> None:
        self.context = context
        self.device = context.device
        if self.device.type == "cuda":  # NCCL's threads need the GPU's number: they have no current device of their own
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.group: WeightGroup | None = None
        self.offers: dict[str, Offer] = {}  # of the group, by the worker's actor

    def send(
        self,
        version: Version,
        parts: Iterator[Mapping[str, torch.Tensor]],
        probe: Probe,
        receivers: Mapping[str, str],
    ) -> Sent:
        """Sends to the receivers that come. The others find the version at the store once it is there."""
        events: list[str] = []
        try:
            group, reached = self._meet(version, probe, receivers)
            if absent := [name for who, name in receivers.items() if who not in reached]:
                events.append(
                    f"{' and '.join(absent)} did not come for weights version {version}, and will find it at the store"
                )
            if group is not None:
                for part in parts:
                    group.send(part)
                    del part
                group.send({})
        except (CollectiveError, RemoteFailure) as error:
            self.close()
            reached = {}
            events.append(f"weights version {version} goes through the store, since its broadcast failed: {error}")
        return Sent(len(reached), events)

    def close(self) -> None:
        """Leaves the group."""
        if self.group is not None:
            self.group.close()
        self.group, self.offers = None, {}

    def _meet(
        self, version: Version, probe: Probe, receivers: Mapping[str, str]
    ) -> tuple[WeightGroup | None, dict[str, Waiting]]:
        """Brings the receivers that come into a group. Returns the group, or None if none comes, and who is in it."""
        store = self.context.store
        present: dict[str, Waiting] = wait_for(
            store.await_receivers.remote(version, list(receivers), MEET_S), MEET_S + 10, "the weight store"
        )
        group = self._group_of(present)
        is_new = group is None
        if group is None:
            self.close()
            if not present:
                return None, {}
            group = self._open(present, receivers)
        offers = {who: offer._replace(probe=probe) for who, offer in self.offers.items()}
        wait_for(store.post_offers.remote(version, offers), STORE_S, "the weight store")
        if is_new:
            group.join()
        return group, present

    def _group_of(self, present: Mapping[str, Waiting]) -> WeightGroup | None:
        """The group that there is, if exactly these workers are in it."""
        if self.group is None or present.keys() != self.offers.keys():
            return None
        if any(waiting.group != self.offers[who].group for who, waiting in present.items()):
            return None
        return self.group

    def _open(self, present: Mapping[str, Waiting], receivers: Mapping[str, str]) -> WeightGroup:
        """Opens a group for workers, and makes an offer for each."""
        names = [self.context.name]
        first_ranks: dict[str, int] = {}
        for who, waiting in present.items():
            first_ranks[who] = len(names)
            for rank in range(waiting.ranks):
                names.append(receivers[who] + (f" rank {rank}" if waiting.ranks > 1 else ""))
        address, name, limit_s = ray.util.get_node_ip_address(), uuid.uuid4().hex, self.context.silent_s
        self.group = WeightGroup(address, 0, 0, names, self.device, limit_s)
        self.offers = {
            who: Offer(name, address, self.group.port, first, names, limit_s, []) for who, first in first_ranks.items()
        }
        return self.group
