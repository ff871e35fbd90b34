"""At most one process commits to an object store: real processes that race for a place, die, and are held up."""

import json
import signal
import subprocess
import sys
import time

import pytest

from actors.runtime.storage import Storage
from cluster.errors import UserError
from cluster.record import store_lease
from cluster.record.lease import SILENT_S, TAKE_OVER_S, FolderTaken, LeaseLost
from cluster.record.store_lease import StoreLease

CONTENDER = """
import os, sys, time
from actors.runtime.storage import Storage
from cluster.record.lease import FolderTaken
from cluster.record.store_lease import StoreLease
print("ready", flush=True)
sys.stdin.readline()
try:
    with StoreLease(Storage(sys.argv[1])) as lease:
        print("owns", lease.owner.process, flush=True)
        time.sleep(float(sys.argv[2]))
except FolderTaken as error:
    print(error, flush=True)
"""


@pytest.fixture
def place(tmp_path):
    return Storage(f"file://{tmp_path}/bucket/run")


def contend(place, count, seconds):
    """Starts processes that want the place at the same moment."""
    command = [sys.executable, "-c", CONTENDER, place.uri, str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def claim_from_elsewhere(monkeypatch, place, silent_s, holds=True):
    """A claim of a process on another machine that wrote it so many seconds before this process writes its own."""
    lease = StoreLease(place)
    owner = vars(lease.owner) | {"host": "far", "machine": "far/boot/1"}
    lease.claims.write(lease.name, json.dumps({"owner": owner, "holds": holds}).encode())
    written_at = Storage.written_at

    def as_if_silent(storage):
        return {name: at - silent_s * (name == lease.name) for name, at in written_at(storage).items()}

    monkeypatch.setattr(Storage, "written_at", as_if_silent)
    return lease


def test_of_many_that_want_a_place_at_most_one_gets_it_and_is_named(place):
    lines = [process.communicate(timeout=60)[0].strip() for process in contend(place, 4, 6)]
    owners = [line for line in lines if line.startswith("owns")]
    assert len(owners) == 1
    number = owners[0].partition(" ")[2]
    refused = f"checkpoint.storage: {place} belongs to a run in progress, in process {number} on "
    assert sum(line.startswith(refused) and "another --name" in line for line in lines) == 3
    assert place.child("owners").written_at() == {}


def test_a_killed_owners_place_is_free_at_once(place):
    (owner,) = contend(place, 1, 60)
    assert owner.stdout.readline().startswith("owns")
    with pytest.raises(FolderTaken, match=f"in process {owner.pid} on"), StoreLease(place):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    began = time.monotonic()
    with StoreLease(place) as lease:
        assert time.monotonic() - began < 1
        lease.confirm()
        assert set(lease.claims.written_at()) == {lease.name}


@pytest.mark.parametrize("silent_s, take_over", [(SILENT_S - 5, False), (TAKE_OVER_S - 5, True)])
def test_an_owner_elsewhere_keeps_the_place_as_long_as_it_gives_signs_of_life(monkeypatch, place, silent_s, take_over):
    claim_from_elsewhere(monkeypatch, place, silent_s)
    gone = r"process \d+ on far; .* if that machine is gone, wait 60 s"
    with pytest.raises(FolderTaken, match=gone), StoreLease(place, take_over):
        pass


@pytest.mark.parametrize("silent_s, take_over", [(SILENT_S + 5, False), (TAKE_OVER_S + 5, True)])
def test_a_silent_owner_elsewhere_is_given_up_and_notices(monkeypatch, place, silent_s, take_over):
    monkeypatch.setattr(store_lease, "BEAT_S", 0.2)
    other = claim_from_elsewhere(monkeypatch, place, silent_s)
    with StoreLease(place, take_over) as lease:
        with pytest.raises(LeaseLost, match="commits nothing more"):
            other.confirm()
        with pytest.raises(LeaseLost):
            other.check()
        lease.confirm()


def test_an_owner_that_was_held_up_while_it_gave_a_sign_of_life_notices(place):
    """Its claim was removed after it had looked for it, and is there again."""
    held_up = StoreLease(place)
    with StoreLease(place) as lease:
        held_up._write(holds=True)
        with pytest.raises(LeaseLost):
            held_up.confirm()
        assert set(lease.claims.written_at()) == {lease.name}
        lease.confirm()


def test_who_only_wants_the_place_does_not_disturb_its_owner(place):
    with StoreLease(place) as lease:
        StoreLease(place)._write(holds=False)
        lease.confirm()
        lease.check()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^checkpoint.storage: file:///.*/file: cannot be used"):
        StoreLease(Storage(f"file://{tmp_path}/file")).__enter__()
