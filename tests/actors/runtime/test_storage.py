"""Where commits are kept, as a path and as a URI: the same files, the same answers."""

import hashlib

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
