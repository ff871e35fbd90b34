"""A commit counts only when it is whole."""

import pytest

from cluster.checkpoint import CheckpointError, Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", 2)


def commit(checkpoints, step):
    folder = checkpoints.begin(step)
    (folder / "learner").mkdir()
    (folder / "learner" / "part.pt").write_bytes(bytes([step]) * 100)
    checkpoints.commit(folder, {"step": step})
    return folder


def test_the_newest_two_are_kept_and_unfinished_ones_do_not_count(checkpoints):
    folders = [commit(checkpoints, step) for step in (1, 2, 10)]
    unfinished = checkpoints.begin(11)
    (unfinished / "part.pt").write_bytes(b"x")
    assert checkpoints.committed() == folders[1:]
    assert [checkpoints.load(f)["step"] for f in checkpoints.committed()] == [2, 10]


@pytest.mark.parametrize("damage, words", [
    (lambda f: (f / "learner" / "part.pt").write_bytes(b"\x01" * 99), "learner/part.pt is not what was written"),
    (lambda f: (f / "learner" / "part.pt").unlink(), "learner/part.pt is missing"),
    (lambda f: (f / "manifest.json").write_text("{"), "manifest cannot be read"),
])
def test_a_damaged_commit_is_refused_by_name(checkpoints, damage, words):
    folder = commit(checkpoints, 1)
    damage(folder)
    with pytest.raises(CheckpointError, match=f"step-0000001.*{words}"):
        checkpoints.load(folder)
