"""Which worker gets which share, and what happens to a share that fails.

A share whose worker died or was late is tried again in halves, down to the single item at fault. Only that item is
given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import ray

from actors.runtime.remote import RemoteFailure
from cluster.pools.shares import Batch, Call, Failed, SendShare, Share, WorkSpan, cut
from cluster.pools.worker_handle import WorkerHandle


class Dispatcher:
    """The queue of shares.

    Args:
        shares_each: how many shares a worker may have at once.
        min_share_s: the shortest limit of a share, however small it is.
        tries: how often a single item may fail along with its worker before it is given up.

    Attributes:
        queue: shares that no worker has.
        spans: shares that were answered; the reader empties the list.
    """

    def __init__(self, shares_each: int, min_share_s: float, tries: int) -> None:
        self.shares_each = shares_each
        self.min_share_s = min_share_s
        self.tries = tries
        self.queue: deque[Share] = deque()
        self.spans: list[WorkSpan] = []

    def submit(self, items: Sequence[Any], send: SendShare, limit_s: float, parts: int) -> Batch:
        """Queues `items` in `parts` contiguous shares of about equal size, each with the limit `limit_s`."""
        batch = Batch(items, send)
        self._enqueue(Share(batch, 0, items, limit_s), parts)
        return batch

    def hand_out(self, workers: Iterable[WorkerHandle], version: Any, now: float) -> None:
        """Gives queued shares to the workers that are ready and hold `version`, in the order of their ranks."""
        by_rank = sorted(workers, key=lambda worker: worker.rank)
        able = [worker for worker in by_rank if worker.health.accepts and worker.health.version == version]
        for held in range(self.shares_each):  # workers without a share come first
            takers = [worker for worker in able if worker.pending["work"] == held]
            for worker in takers[: len(self.queue)]:
                share = self.queue.popleft()
                ref = share.batch.send(worker.actor, share.items)
                worker.register(ref, Call("work", now, share.limit_s, share))

    def accept(self, worker: WorkerHandle, share: Share, results: Sequence[Any], since: float, now: float) -> None:
        """Takes in what a worker returned for a share that it had since `since`.

        Raises:
            RemoteFailure: the number of results is not that of the items.
        """
        if len(results) != len(share.items):
            raise RemoteFailure(f"{worker.title} gave {len(results)} results for {len(share.items)} items")
        share.batch.deliver(share.first, results)
        self.spans.append(WorkSpan(worker.name, since, now - since, len(results)))

    def retry(self, share: Share, why: str) -> None:
        """Queues a failed share again in halves, each with half the limit. A single item is given up after `tries`."""
        if len(share.items) > 1:
            self._enqueue(replace(share, limit_s=max(self.min_share_s, share.limit_s / 2)), 2)
        elif share.failures + 1 < self.tries:
            self.queue.append(replace(share, failures=share.failures + 1))
        else:
            share.batch.deliver(share.first, [Failed(why)])

    def put_back(self, share: Share) -> None:
        """Queues a share that its worker hands back through no fault of its own: it goes first."""
        self.queue.appendleft(share)

    def discard_all(self, workers: Iterable[WorkerHandle]) -> None:
        """Drops every share, queued or at a worker."""
        self.queue.clear()
        for worker in workers:
            refs = [ref for ref, call in worker.calls.items() if call.kind == "work"]
            for ref in refs:
                ray.cancel(ref)
                worker.complete(ref)

    def _enqueue(self, share: Share, parts: int) -> None:
        first = share.first
        for items in cut(share.items, parts):
            if items:
                self.queue.append(replace(share, first=first, items=items))
                first += len(items)
