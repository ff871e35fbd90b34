"""A commit counts only when it is whole."""

from pathlib import Path

import pytest

from actors.runtime.storage import Storage
from cluster.record.checkpoint import CheckpointError, Checkpoints


@pytest.fixture(params=["", "file://"], ids=["path", "uri"])
def checkpoints(request, tmp_path):
    return Checkpoints(Storage(f"{request.param}{tmp_path}/checkpoints"), 2)


def commit(checkpoints, step):
    folder = checkpoints.begin(step)
    with folder.workspace() as part:
        (part / "learner").mkdir()
        (part / "learner" / "part.pt").write_bytes(bytes([step]) * 100)
        checkpoints.commit(folder, folder.take_in(part), {"step": step})
    return folder


def test_the_newest_two_are_kept_and_unfinished_ones_do_not_count(checkpoints):
    folders = [commit(checkpoints, step) for step in (1, 2, 10)]
    unfinished = checkpoints.begin(11)
    unfinished.write("part.pt", b"x")
    assert [f.uri for f in checkpoints.committed()] == [f.uri for f in folders[1:]]
    assert [checkpoints.load(f)["step"] for f in checkpoints.committed()] == [2, 10]
    commit(checkpoints, 12)
    assert checkpoints.storage.children() == ["step-0000010", "step-0000012"], (
        "what was never finished goes with the next commit"
    )


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda f: (f / "learner" / "part.pt").write_bytes(b"\x01" * 99), "learner/part.pt is not what was written"),
        (lambda f: (f / "learner" / "part.pt").unlink(), "learner/part.pt is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest cannot be read"),
    ],
)
def test_a_damaged_commit_is_refused_by_name(checkpoints, damage, words):
    folder = commit(checkpoints, 1)
    damage(Path(folder.path))
    with pytest.raises(CheckpointError, match=f"step-0000001.*{words}"):
        checkpoints.load(folder)


def test_what_a_commit_needs_is_known_before_the_first_one(tmp_path):
    checkpoints = Checkpoints(Storage(f"{tmp_path}/checkpoints"), 2)
    assert checkpoints.missing_space(estimate=10) == "" and checkpoints.newest_words() == "there is none so far"
    assert f"the disk of {tmp_path}/checkpoints, /" in checkpoints.missing_space(estimate=2**60)
    assert "lacks the 1073741824.0 GiB for it" in checkpoints.missing_space(estimate=2**60)
    commit(checkpoints, 1)
    assert checkpoints.missing_space(estimate=2**60) == "", "what the last one took is known"
    assert checkpoints.newest_words() == "the last one is step-0000001"
