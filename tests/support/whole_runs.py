"""Whole runs in tests: what one left behind, what happens to one, and doing something to it meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pyarrow.parquet as pq
from safetensors.torch import load_file

from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.record.ledger import committed_events
from cluster.run.launch import start
from tests.support.short_run import wait_until


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def events(run):
    return committed_events(run / "ledger.jsonl")


def reached(run):
    """Of each step of RL: the share of the rollout workers that the weights went straight to."""
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return [r.get("by_collective") for r in rows if r["event"] == "step" and r["kind"] == "grpo"]


def train_beside(act, recipe, path, train=start):
    """A run, and beside it what `act` does to it; where that fails, or the run does not end in time, it is stopped."""

    def acting():
        try:
            act()
            wait_until(lambda: read_status(path)["status"] in ("finished", "stopped", "failed"))
        except BaseException:
            send_request(path, ControlRequest("stop"))
            raise

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(acting)
        code = train(recipe, path)
        beside.result(timeout=60)
    assert code == 0


def process(*titles):
    """The process of one of this session's Ray actors whose title holds one of the words: its name, or what it does.

    None if there is none, or if its title is just being written.
    """
    for candidate in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(title in " ".join(candidate.cmdline()) for title in titles):
                return candidate
    return None


def booked(path, event, stage):
    """Whether a group of the stage is booked so, since the ledger was last wound back."""
    ledger = path / "ledger.jsonl"
    return (
        ledger.is_file() and f'"event": "{event}", "group": "{stage}-' in ledger.read_text().rpartition('"rewound"')[2]
    )
