"""One sender's tensors to several processes at once: NCCL between GPUs, gloo between CPUs, by the same code.

A group of its own beside whatever else a process has in `torch.distributed`. Nothing here waits for ever: every operation runs
in a thread of its own, and whoever called it goes on after the group's limit, whatever the library does. While a group stands,
each member gives signs of life to rank 0, so that a failure is noticed early and has a name; NCCL by itself notices the death of
a process on the same machine never.
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

LATER_S = 5.0  # that a library may wait longer than we do
BEAT_S = 0.25
SILENT_S = 10.0  # without a sign of life: a process that loads weights may hold Python's lock for a while
PARTING_S = 2.0  # for the last words of a group that failed
OVER = "over"


class CollectiveError(RuntimeError):
    """The group is over: one line, with who failed where that is known."""


class WeightGroup:
    """One member of a group; rank 0 sends, all others receive. `join` comes first. After an error it is of no use any more.

    Args:
        address, port: where rank 0 is reached; 0 at rank 0: any free port, `port` tells which.
        names: of all members, in order of rank, for errors.
        device: where tensors are sent from, or arrive.
        limit_s: of every single wait: that all join, that one bucket comes through.

    Raises:
        CollectiveError: rank 0 is not reached.
    """

    def __init__(
        self, address: str, port: int, rank: int, names: Sequence[str], device: torch.device, limit_s: float
    ) -> None:
        self.rank, self.names, self.device, self.limit_s = rank, list(names), device, limit_s
        self.over = ""  # why the group is over
        self._ended = threading.Event()
        self._backend: Any = None
        limit = timedelta(seconds=limit_s)
        try:
            self._store = TCPStore(address, port, is_master=rank == 0, wait_for_workers=False, timeout=limit)
            self.port = self._store.port
            self._line = TCPStore(address, self.port, is_master=False, timeout=limit)  # the other one may be waiting
        except Exception as error:  # noqa: BLE001 - torch's own errors have no common class
            raise CollectiveError(
                f"{self.name} does not reach {self.names[0]} at {address}: {_brief(error)}"
            ) from error
        threading.Thread(target=self._watch, name="group-watch", daemon=True).start()

    @property
    def name(self) -> str:
        return self.names[self.rank]

    def join(self) -> None:
        """Comes back when all members have joined. Raises CollectiveError."""

        def meet() -> None:
            self._store.set(f"joined/{self.rank}", "")
            everybody = [f"joined/{rank}" for rank in range(len(self.names))]
            self._store.wait(
                everybody, timedelta(seconds=self.limit_s + LATER_S)
            )  # ours ends first, and tells who is missing
            self._backend = self._connect()

        self._within("join", meet)
        self._broadcast(torch.zeros(1, dtype=torch.uint8, device=self.device), "join")  # NCCL connects with the first

    def send(self, tensors: Mapping[str, Tensor]) -> None:
        """One bucket, packed into one tensor on the device. An empty one says that there are no more.

        Raises:
            CollectiveError: it did not reach all.
        """
        # By size, so that all stay aligned.
        order = sorted(tensors.items(), key=lambda item: -item[1].element_size())
        text = json.dumps(
            [[name, str(value.dtype).removeprefix("torch."), list(value.shape)] for name, value in order]
        ).encode()
        parts = [value.detach().to(self.device).contiguous().reshape(-1).view(torch.uint8) for _, value in order]
        body = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8, device=self.device)
        header = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(self.device) if order else body
        self._broadcast(torch.tensor([header.numel(), body.numel()], dtype=torch.int64, device=self.device), "send")
        for tensor in (header, body):
            self._broadcast(tensor, "send")

    def receive(self) -> dict[str, Tensor]:
        """The next bucket, on the device; {} after the last. All its tensors share one piece of memory.

        Raises:
            CollectiveError: it did not come.
        """
        sizes = torch.zeros(2, dtype=torch.int64, device=self.device)
        self._broadcast(sizes, "receive")
        header, body = (torch.empty(size, dtype=torch.uint8, device=self.device) for size in sizes.tolist())
        for tensor in (header, body):
            self._broadcast(tensor, "receive")
        tensors, start = {}, 0
        for name, kind, shape in json.loads(header.cpu().numpy().tobytes() or "[]"):
            dtype = getattr(torch, kind)
            end = start + dtype.itemsize * torch.Size(shape).numel()
            tensors[name] = body[start:end].view(dtype).reshape(shape)
            start = end
        return tensors

    def fail(self, why: str) -> CollectiveError:
        """Ends the group for all its members; the error to raise."""
        own = f"{self.name}: {why}"
        self.over = self.over or own
        if not _briefly(self._say) and self.over == own:
            self.over = f"{self.names[0]} is gone ({own})"
        if self.rank == 0 and (silent := self._silent()):
            self.over = f"{' and '.join(silent)} gave no sign of life ({self.over})"
        self._end()
        return CollectiveError(self.over)

    def close(self) -> None:
        """Leaves the group, which is over with it; what still waits in it is broken off."""
        if not self._ended.is_set():
            self.over = self.over or f"{self.name} has left"
            _briefly(self._say)
            self._end()

    def _end(self) -> None:
        self._ended.set()
        if self._backend is not None:
            _briefly(self._backend.abort)
        self._backend = self._store = self._line = None

    # -- one operation ----------------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        """By the library's own class, since torch's registry of groups is one for the process and knows other ranks."""
        store, later = PrefixStore("group", self._store), self._later
        if self.device.type == "cpu":
            from torch.distributed import ProcessGroupGloo

            return ProcessGroupGloo(store, self.rank, len(self.names), later)
        from torch.distributed import ProcessGroupNCCL

        options = ProcessGroupNCCL.Options()
        options._timeout = later
        torch.cuda.set_device(self.device)
        with _errors_are_ours():
            return ProcessGroupNCCL(store, self.rank, len(self.names), options)

    @property
    def _later(self) -> timedelta:
        """The library's limit: well after ours, which alone counts. (NCCL's watchdog would end the process by it.)"""
        return timedelta(seconds=10 * self.limit_s + 60)

    def _broadcast(self, tensor: Tensor, what: str) -> None:
        if not tensor.numel():
            return
        if tensor.is_cuda:  # what this thread's stream does with it, or with memory that it had before, is done
            torch.cuda.current_stream(self.device).synchronize()
        backend = self._backend

        def broadcast() -> None:
            if tensor.is_cuda:
                torch.cuda.set_device(self.device)
            backend.broadcast(tensor, 0).wait(self._later)
            if tensor.is_cuda:  # a work's `wait` may hold up the stream alone
                torch.cuda.current_stream(self.device).synchronize()

        self._within(what, broadcast)

    def _within(self, what: str, act: Callable[[], None]) -> None:
        """Acts in a thread of its own, for which nobody waits once the group is over or the limit has passed."""
        if self._ended.is_set():
            raise CollectiveError(self.over)
        done, errors = threading.Event(), list[Exception]()

        def run() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
            done.set()

        threading.Thread(target=run, name=f"group-{what}", daemon=True).start()
        deadline = time.monotonic() + self.limit_s
        while not done.wait(BEAT_S):
            if self.over or time.monotonic() > deadline:
                raise self.fail(f"could not {what} within {self.limit_s:g} s")
        if errors:
            raise self.fail(f"could not {what}: {_brief(errors[0])}") from errors[0]

    # -- signs of life ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """A thread as long as the group stands: tells rank 0 that this member lives, and hears whether the group is over."""
        line, heard = self._line, dict[int, tuple[int, float]]()
        try:
            while not self._ended.wait(BEAT_S):
                line.add(_beat(self.rank), 1)
                if line.check([OVER]):
                    self.over = self.over or line.get(OVER).decode()
                if self.rank == 0:
                    now = time.monotonic()
                    for rank in range(1, len(self.names)):
                        count = line.add(_beat(rank), 0)
                        if count != heard.get(rank, (-1, now))[0]:
                            heard[rank] = count, now
                        elif count and now - heard[rank][1] > SILENT_S and not self.over:
                            self.over = f"{self.names[rank]} gave no sign of life for {SILENT_S:g} s"
        except Exception as error:  # noqa: BLE001 - the connection broke
            if not self._ended.is_set():
                self.over = self.over or f"{self.names[0]} is gone: {_brief(error)}"

    def _say(self) -> None:
        """Last words."""
        self._line.set(f"left/{self.rank}", "")
        self.over = self._line.compare_set(OVER, "", self.over).decode()  # the first that was said counts

    def _silent(self) -> list[str]:
        """Those who neither live nor have left, by name."""
        missing = {rank: None for rank in range(1, len(self.names))}

        def listen() -> None:
            line, until = self._line, time.monotonic() + 0.9 * PARTING_S
            before = {rank: line.add(_beat(rank), 0) for rank in missing}
            while missing and time.monotonic() < until:
                for rank in list(missing):
                    if line.check([f"left/{rank}"]) or line.add(_beat(rank), 0) > before[rank]:
                        del missing[rank]
                time.sleep(BEAT_S / 5)

        _briefly(listen)
        return [self.names[rank] for rank in list(missing)]


def _beat(rank: int) -> str:
    return f"beat/{rank}"


def _briefly(act: Callable[[], None]) -> bool:
    """Whether it could be done in a moment; what fails or hangs here stops nobody."""
    done = threading.Event()

    def run() -> None:
        try:
            act()
            done.set()
        except Exception:  # noqa: BLE001
            pass

    thread = threading.Thread(target=run, name="group-end", daemon=True)
    thread.start()
    thread.join(PARTING_S)
    return done.is_set()


def _brief(error: Exception) -> str:
    """Its first sentence, without the place in the library's source."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (first.partition("] ")[2] if first.startswith("[/") else first).partition(". ")[0]


@contextmanager
def _errors_are_ours() -> Iterator[None]:
    """For a group that is made inside: NCCL's watchdog in torch, which by default ends the whole process when a member is lost,
    leaves errors to us. (That the monitor of the process's first group does so, too, TORCH_NCCL_DUMP_ON_TIMEOUT=0 hinders: see
    `environment`.)"""
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
