"""Which worker gets which share, and what happens to a share that fails.

What is left of a share whose worker died or was late is tried again in halves, down to the single item at fault. Only
that item is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import ray

from actors.runtime.remote import RemoteFailure
from cluster.pools.shares import Arrived, Batch, Call, Failed, SendShare, Share, WorkSpan, cut
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

    def submit(
        self, items: Sequence[Any], send: SendShare, limit_s: float, parts: int, arrived: Arrived | None = None
    ) -> Batch:
        """Queues `items` in `parts` contiguous shares of about equal size, each with the limit `limit_s`."""
        batch = Batch(items, send, arrived)
        self._enqueue(Share(batch, range(len(items)), limit_s), parts)
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
        """Takes in all that a worker returned for a share that it had since `since`.

        Raises:
            RemoteFailure: the number of results is not that of the items.
        """
        if len(results) != len(share.numbers):
            raise RemoteFailure(f"{worker.title} gave {len(results)} results for {len(share.numbers)} items")
        for position, result in enumerate(results):
            self.accept_one(share, position, result)
        self.end(worker, share, since, now)

    def accept_one(self, share: Share, position: int, result: Any) -> None:
        """Takes in the result of one item of a share."""
        share.batch.deliver(share.numbers[position], result)

    def end(self, worker: WorkerHandle, share: Share, since: float, now: float) -> None:
        """Closes a share whose results have all come one by one.

        Raises:
            RemoteFailure: some have not.
        """
        count = len(share.numbers)
        if missing := len(share.rest().numbers):
            raise RemoteFailure(f"{worker.title} gave {count - missing} results for {count} items")
        self.spans.append(WorkSpan(worker.name, since, now - since, count))

    def retry(self, share: Share, why: str) -> None:
        """Queues the rest of a failed share again in halves, each with half the limit.

        A single item is given up after `tries`.
        """
        rest = share.rest()
        if not rest.numbers:
            return
        if len(rest.numbers) > 1:
            self._enqueue(replace(rest, limit_s=max(self.min_share_s, share.limit_s / 2)), 2)
        elif len(share.numbers) > 1:  # the last item has not failed alone yet
            self._enqueue(rest, 1)
        elif share.failures + 1 < self.tries:
            self.queue.append(replace(share, failures=share.failures + 1))
        else:
            share.batch.deliver(share.numbers[0], Failed(why))

    def put_back(self, share: Share) -> None:
        """Queues what is left of a share that its worker hands back through no fault of its own: it goes first."""
        rest = share.rest()
        if rest.numbers:
            self.queue.appendleft(rest)

    def discard_all(self, workers: Iterable[WorkerHandle]) -> None:
        """Drops every share, queued or at a worker."""
        self.queue.clear()
        for worker in workers:
            refs = [ref for ref, call in worker.calls.items() if call.kind == "work"]
            for ref in refs:
                ray.cancel(ref)
                worker.complete(ref)

    def _enqueue(self, share: Share, parts: int) -> None:
        for numbers in cut(share.numbers, parts):
            if numbers:
                self.queue.append(replace(share, numbers=numbers))
