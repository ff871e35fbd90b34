"""Where commits are kept, as a path and as a URI: the same files, the same answers."""

import hashlib
import re
import subprocess
import sys

import pytest

from actors.runtime.storage import Storage


@pytest.fixture(params=["", "file://"], ids=["path", "uri"])
def storage(request, tmp_path):
    return Storage(f"{request.param}{tmp_path}/far").child("commit")


def test_what_a_workspace_held_is_there_afterwards_and_nothing_else(storage):
    storage.clear()
    with storage.workspace() as folder:
        (folder / "learner").mkdir()
        (folder / "learner" / "rank 0.pt").write_bytes(b"zero" * 1000)
        (folder / "latest").write_bytes(b"")
        digests = storage.take_in(folder)
    assert not folder.exists()
    assert digests == {
        "latest": hashlib.sha256(b"").hexdigest(),
        "learner/rank 0.pt": hashlib.sha256(b"zero" * 1000).hexdigest(),
    }
    assert all(storage.has(name) and storage.digest(name) == digest for name, digest in digests.items())
    assert storage.size() == 4000 and storage.children() == ["learner"]
    with storage.here() as folder:
        assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == sorted(digests)
        assert (folder / "learner" / "rank 0.pt").read_bytes() == b"zero" * 1000


def test_a_cleared_folder_is_empty_and_a_removed_one_is_gone(storage):
    for _ in range(2):
        storage.clear()
        assert storage.size() == 0
        storage.write("manifest.json", b"{}")
        assert storage.read("manifest.json") == b"{}" and storage.has("manifest.json")
    storage.remove()
    storage.remove()
    assert not storage.has("manifest.json") and storage.children() == []
    with pytest.raises(OSError):
        storage.read("manifest.json")


def test_all_but_what_is_to_be_kept_is_deleted(storage):
    storage.clear()
    storage.child("learner").write("part.pt", b"part")
    for name in ("policy", "kept.json", "latest"):
        storage.write(name, name.encode())
    storage.keep_only({"policy", "kept.json", "never there"})
    assert sorted(storage.written_at()) == ["kept.json", "policy"] and storage.children() == []
    assert storage.read("policy") == b"policy"


def test_a_child_of_a_bucket_keeps_how_it_is_reached():
    child = (
        Storage("s3://me:secret@bucket/runs?endpoint_override=127.0.0.1:9&scheme=http&region=here")
        .child("a")
        .child("b")
    )
    assert (child.path, child.name, child.local) == ("bucket/runs/a/b", "b", False)
    assert child.uri == "s3://me:secret@bucket/runs/a/b?endpoint_override=127.0.0.1:9&scheme=http&region=here"
    assert "secret" not in str(child)


@pytest.mark.parametrize("uri", ["runs/here", "nowhere://x/y"])
def test_what_is_no_place_is_refused_by_name(uri):
    with pytest.raises(ValueError, match=f"^{uri}: .*s3://bucket/folder"):
        Storage(uri)


FULL = """
import sys
from pathlib import Path
from actors.runtime.files import NoSpaceError, disk_named
from actors.runtime.storage import Storage

storage = Storage(sys.argv[1])
storage.write("manifest.json", b"old")
try:
    with disk_named(storage.path), storage.workspace() as folder:
        (folder / "part.pt").write_bytes(bytes(2**21))
except NoSpaceError as error:
    print(error)
try:
    storage.write("manifest.json", bytes(2**21))
except OSError as error:
    print(error.strerror)
print(storage.read("manifest.json").decode(), *Path(sys.argv[1]).iterdir())
"""


def test_a_full_disk_is_named_and_what_was_there_stays_whole(tmp_path):
    """On a disk of 1 MiB, in a namespace of its own."""
    script = f'mount -t tmpfs -o size=1m none {tmp_path} || exit 9; exec {sys.executable} -c "$1" {tmp_path}'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", FULL], capture_output=True, text=True)
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip("no disk can be mounted here")
    named, again, kept = done.stdout.splitlines() or [done.stderr] * 3
    assert re.fullmatch(rf"no space left on {tmp_path} \(1.0 MiB, of which [01].0 MiB are free\)", named)
    assert again == "No space left on device" and kept == f"old {tmp_path}/manifest.json"
