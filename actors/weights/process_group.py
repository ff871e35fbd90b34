"""One sender's tensors to several processes at once: NCCL between GPUs, gloo between CPUs, by the same code.

A group is independent of whatever else a process has in `torch.distributed`. Nothing here waits for ever: every
operation runs in a thread of its own, and its caller goes on after the group's limit, whatever the library does. As
long as a group is open, each member gives signs of life to rank 0, so that a failure is noticed early and has a name;
NCCL alone never notices the death of a process on the same machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore

GRACE_S = 5.0  # on top of our own timeout, for the library
BEAT_S = 0.25
SILENT_S = 10.0  # without a sign of life; a process that loads weights may hold Python's lock for a while
PARTING_S = 2.0  # for a failed group to tell its members
REASON_KEY = "over"  # of the reason why the group is over


class CollectiveError(RuntimeError):
    """The group is over: one line, with the member that failed, if that is known."""


class WeightGroup:
    """One member of a group; rank 0 sends, all others receive. Call `join` first. After an error the group cannot be
    used again.

    Args:
        address, port: where rank 0 is reached. At rank 0, port 0 takes any free port, which the attribute `port` then
            has.
        names: of all members, in order of rank, for errors.
        device: where tensors are sent from, or arrive.
        limit_s: for each wait: until all have joined, until one bucket has come through.

    Raises:
        CollectiveError: rank 0 cannot be reached.
    """

    def __init__(
        self, address: str, port: int, rank: int, names: Sequence[str], device: torch.device, limit_s: float
    ) -> None:
        self.rank, self.names, self.device, self.limit_s = rank, list(names), device, limit_s
        self.reason = ""  # why the group is over
        self._ended = threading.Event()
        self._backend: Any = None
        limit = timedelta(seconds=limit_s)
        try:
            self._store = TCPStore(address, port, is_master=rank == 0, wait_for_workers=False, timeout=limit)
            self.port = self._store.port
            self._signals = TCPStore(
                address, self.port, is_master=False, timeout=limit
            )  # a second one, since the first may be waiting
        except Exception as error:
            raise CollectiveError(
                f"{self.name} does not reach {self.names[0]} at {address}: {_brief(error)}"
            ) from error
        threading.Thread(target=self._watch, name="group-watch", daemon=True).start()

    @property
    def name(self) -> str:
        return self.names[self.rank]

    def join(self) -> None:
        """Returns when all members have joined. Raises CollectiveError."""

        def meet() -> None:
            self._store.set(f"joined/{self.rank}", "")
            everybody = [f"joined/{rank}" for rank in range(len(self.names))]
            # Our own wait ends first, and names who is missing.
            self._store.wait(everybody, timedelta(seconds=self.limit_s + GRACE_S))
            self._backend = self._connect()

        self._within("join", meet)
        self._broadcast(
            torch.zeros(1, dtype=torch.uint8, device=self.device), "join"
        )  # NCCL connects with the first one

    def send(self, tensors: Mapping[str, Tensor]) -> None:
        """Sends one bucket, packed into one tensor on the device. An empty one means that there are no more.

        Raises:
            CollectiveError: it did not reach all members.
        """
        order = sorted(tensors.items(), key=lambda item: -item[1].element_size())  # by size, so that all stay aligned
        entries = [[name, str(value.dtype).removeprefix("torch."), list(value.shape)] for name, value in order]
        text = json.dumps(entries).encode()
        parts = [value.detach().to(self.device).contiguous().reshape(-1).view(torch.uint8) for _, value in order]
        body = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8, device=self.device)
        header = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(self.device) if order else body
        self._broadcast(torch.tensor([header.numel(), body.numel()], dtype=torch.int64, device=self.device), "send")
        for tensor in (header, body):
            self._broadcast(tensor, "send")

    def receive(self) -> dict[str, Tensor]:
        """The next bucket, on the device; {} after the last one. All its tensors share one piece of memory.

        Raises:
            CollectiveError: it did not come.
        """
        sizes = torch.zeros(2, dtype=torch.int64, device=self.device)
        self._broadcast(sizes, "receive")
        header, body = (torch.empty(size, dtype=torch.uint8, device=self.device) for size in sizes.tolist())
        for tensor in (header, body):
            self._broadcast(tensor, "receive")
        tensors: dict[str, Tensor] = {}
        start = 0
        for name, kind, shape in json.loads(header.cpu().numpy().tobytes() or "[]"):
            dtype = getattr(torch, kind)
            end = start + dtype.itemsize * torch.Size(shape).numel()
            tensors[name] = body[start:end].view(dtype).reshape(shape)
            start = end
        return tensors

    def fail(self, why: str) -> CollectiveError:
        """Ends the group for all its members. Returns the error to raise."""
        own = f"{self.name}: {why}"
        self.reason = self.reason or own
        if not _done_in_time(self._announce_end) and self.reason == own:
            self.reason = f"{self.names[0]} is gone ({own})"
        silent = self._silent_members() if self.rank == 0 else []
        if silent:
            self.reason = f"{' and '.join(silent)} gave no sign of life ({self.reason})"
        self._end()
        return CollectiveError(self.reason)

    def close(self) -> None:
        """Leaves the group, and ends it for all; operations that still wait are aborted."""
        if not self._ended.is_set():
            self.reason = self.reason or f"{self.name} has left"
            _done_in_time(self._announce_end)
            self._end()

    def _end(self) -> None:
        self._ended.set()
        if self._backend is not None:
            _done_in_time(self._backend.abort)
        self._backend = self._store = self._signals = None

    # -- one operation ----------------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        """By the library's own class: torch's registry of groups is one for the process, and has other ranks."""
        store, limit = PrefixStore("group", self._store), self._library_limit
        if self.device.type == "cpu":
            from torch.distributed import ProcessGroupGloo

            return ProcessGroupGloo(store, self.rank, len(self.names), limit)
        from torch.distributed import ProcessGroupNCCL

        options = ProcessGroupNCCL.Options()
        options._timeout = limit
        torch.cuda.set_device(self.device)
        with _errors_are_ours():
            return ProcessGroupNCCL(store, self.rank, len(self.names), options)

    @property
    def _library_limit(self) -> timedelta:
        """Well after our own limit, which alone counts. (NCCL's watchdog would end the process at its own.)"""
        return timedelta(seconds=10 * self.limit_s + 60)

    def _broadcast(self, tensor: Tensor, operation: str) -> None:
        if not tensor.numel():
            return
        if tensor.is_cuda:  # this thread's stream must be done with it, and with the memory that it reuses
            torch.cuda.current_stream(self.device).synchronize()
        backend = self._backend

        def broadcast() -> None:
            if tensor.is_cuda:
                torch.cuda.set_device(self.device)
            backend.broadcast(tensor, 0).wait(self._library_limit)
            if tensor.is_cuda:  # `wait` may only hold up the stream
                torch.cuda.current_stream(self.device).synchronize()

        self._within(operation, broadcast)

    def _within(self, operation: str, act: Callable[[], None]) -> None:
        """Runs `act` in a thread of its own, and stops waiting once the group is over or the limit has passed."""
        if self._ended.is_set():
            raise CollectiveError(self.reason)
        done, errors = threading.Event(), list[Exception]()

        def run() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
            done.set()

        threading.Thread(target=run, name=f"group-{operation}", daemon=True).start()
        deadline = time.monotonic() + self.limit_s
        while not done.wait(BEAT_S):
            if self.reason or time.monotonic() > deadline:
                raise self.fail(f"could not {operation} within {self.limit_s:g} s")
        if errors:
            raise self.fail(f"could not {operation}: {_brief(errors[0])}") from errors[0]

    # -- signs of life ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """A thread for as long as the group is open: it shows rank 0 that this member lives, and learns whether the
        group is over.
        """
        signals = self._signals
        last_beats: dict[int, tuple[int, float]] = {}  # of each rank: their count, and when that changed
        try:
            while not self._ended.wait(BEAT_S):
                signals.add(_beat(self.rank), 1)
                if signals.check([REASON_KEY]):
                    self.reason = self.reason or signals.get(REASON_KEY).decode()
                if self.rank == 0:
                    now = time.monotonic()
                    for rank in range(1, len(self.names)):
                        count = signals.add(_beat(rank), 0)
                        if count != last_beats.get(rank, (-1, now))[0]:
                            last_beats[rank] = count, now
                        elif count and now - last_beats[rank][1] > SILENT_S and not self.reason:
                            self.reason = f"{self.names[rank]} gave no sign of life for {SILENT_S:g} s"
        except Exception as error:  # noqa: BLE001 - the connection broke
            if not self._ended.is_set():
                self.reason = self.reason or f"{self.names[0]} is gone: {_brief(error)}"

    def _announce_end(self) -> None:
        """Tells all members that this one leaves, and why the group is over."""
        self._signals.set(f"left/{self.rank}", "")
        self.reason = self._signals.compare_set(REASON_KEY, "", self.reason).decode()  # the first reason counts

    def _silent_members(self) -> list[str]:
        """Names of the members that neither give signs of life nor have left."""
        missing = set(range(1, len(self.names)))

        def listen() -> None:
            signals, until = self._signals, time.monotonic() + 0.9 * PARTING_S
            before = {rank: signals.add(_beat(rank), 0) for rank in missing}
            while missing and time.monotonic() < until:
                for rank in sorted(missing):
                    if signals.check([f"left/{rank}"]) or signals.add(_beat(rank), 0) > before[rank]:
                        missing.discard(rank)
                time.sleep(BEAT_S / 5)

        _done_in_time(listen)
        return [self.names[rank] for rank in sorted(missing)]


def _beat(rank: int) -> str:
    return f"beat/{rank}"


def _done_in_time(act: Callable[[], None]) -> bool:
    """Whether `act` succeeded within a moment; if it fails or hangs, nothing else is held up."""
    done = threading.Event()

    def run() -> None:
        try:
            act()
            done.set()
        except Exception:  # noqa: BLE001 - the caller only learns that it was not done
            pass

    thread = threading.Thread(target=run, name="group-end", daemon=True)
    thread.start()
    thread.join(PARTING_S)
    return done.is_set()


def _brief(error: Exception) -> str:
    """The error's first sentence, without the line of the library's source."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (first.partition("] ")[2] if first.startswith("[/") else first).partition(". ")[0]


@contextmanager
def _errors_are_ours() -> Iterator[None]:
    """Makes NCCL's watchdog in torch leave the errors of a group that is made inside to us.

    By default it ends the whole process when a member is lost. (The monitor of the process's first group would do so,
    too, which TORCH_NCCL_DUMP_ON_TIMEOUT=0 prevents: see `environment`.)
    """
    name, value = "TORCH_NCCL_ASYNC_ERROR_HANDLING", "0"
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
