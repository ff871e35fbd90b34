"""A commit counts only when it is whole."""

import json
from pathlib import Path

import pytest

from actors.runtime.storage import POLICY, Storage
from cluster.record.checkpoint import CheckpointError, Checkpoints
from cluster.record.validation import Validation


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
        (lambda f: (f / "manifest.json").write_text("[" * 3000), "manifest cannot be read"),
        (lambda f: (f / "manifest.json").write_text('{"state": {}, "sha256": null}'), "no hashes of parts"),
        (lambda f: (f / "manifest.json").write_text('{"state": [], "sha256": {}}'), "holds no state"),
        (
            lambda f: (f / "manifest.json").write_text('{"state": {}, "sha256": {"a\\u0000": ""}}'),
            "which is no file's name",
        ),
    ],
)
def test_a_damaged_commit_is_refused_by_name(checkpoints, damage, words):
    folder = commit(checkpoints, 1)
    damage(Path(folder.path))
    with pytest.raises(CheckpointError, match=f"step-0000001.*{words}"):
        checkpoints.load(folder)


SCORES = {1: ("sft", 0.3), 2: ("sft", 0.5), 3: ("sft", 0.4), 4: ("rl", 0.6), 5: ("rl", None), 6: ("rl", 0.2)}
"""Of each step: the stage of its commit, and its score, if it was validated."""


def validated(checkpoints, step):
    """A commit with weights and a learner's part. Step 3 ends the stage sft, so the run is in the next one."""
    stage, value = SCORES[step]
    scored = value and Validation(stage, step, step, step, "closed_accuracy", (value, 0.0, 1.0))
    folder = checkpoints.begin(step)
    with folder.workspace() as part:
        (part / "learner").mkdir()
        (part / "learner" / "part.pt").write_bytes(bytes([step]) * 100)
        (part / POLICY).write_bytes(bytes([step]) * 10)
        checkpoints.commit(folder, folder.take_in(part), {"step": step}, "rl" if step == 3 else stage, scored)


def held(checkpoints):
    """Step of each version that is there to whether it is whole; what it holds is checked."""
    versions = checkpoints.versions()
    for version in versions:
        assert Checkpoints.load_policy(version.folder)["step"] == version.step
        if version.whole:
            assert Checkpoints.load(version.folder) == {"step": version.step}
    return {version.step: version.whole for version in versions}


@pytest.fixture(params=["", "file://"], ids=["path", "uri"])
def best_kept(request, tmp_path):
    return Checkpoints(Storage(f"{request.param}{tmp_path}/best"), keep=1, keep_best=1)


def test_the_best_of_each_stage_stays_whole_until_its_stage_ends_and_then_its_weights(best_kept):
    kept = []
    for step in SCORES:
        validated(best_kept, step)
        kept.append(held(best_kept))
    assert kept == [
        {1: True},
        {2: True},
        {2: False, 3: True},
        {2: False, 4: True},
        {2: False, 4: True, 5: True},
        {2: False, 4: True, 6: True},
    ]
    assert [folder.name for folder in best_kept.committed()] == ["step-0000004", "step-0000006"]
    weights_alone = best_kept.versions()[0]
    assert sorted(weights_alone.folder.written_at()) == ["kept.json", POLICY] and weights_alone.folder.children() == []
    with pytest.raises(CheckpointError, match="step-0000002.*policy.safetensors is not what was written"):
        weights_alone.folder.write(POLICY, b"other")
        Checkpoints.load_policy(weights_alone.folder)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


def die_at(change, patch):
    """Lets a process die instead of the change of the storage with this number, counted from 0."""
    done = -1

    def deadly(plain):
        def act(self, *arguments):
            nonlocal done
            done += 1
            if done == change:
                raise Killed
            return plain(self, *arguments)

        return act

    for name in ("write", "delete", "keep_only", "remove"):
        patch.setattr(Storage, name, deadly(getattr(Storage, name)))


@pytest.mark.parametrize("step", SCORES)
def test_a_kill_at_any_point_of_a_commit_loses_no_version_that_is_kept(step, tmp_path, monkeypatch):
    """Each change of the storage is once the one that is not made any more."""
    in_the_end = held_after(step, tmp_path / "plain")
    for change in range(100):
        checkpoints = Checkpoints(Storage(f"{tmp_path}/{change}"), keep=1, keep_best=1)
        for number in range(1, step):
            validated(checkpoints, number)
        before = held(checkpoints)
        try:
            with monkeypatch.context() as patch:
                die_at(change, patch)
                validated(checkpoints, step)
            break
        except Killed:
            there = held(checkpoints)
        assert step in there or there == before, "before the commit counts, nothing else is touched"
        assert there.keys() >= in_the_end.keys() - {step}
        assert any(there.values()) or not before, "the run can go on from one"
        validated(checkpoints, step)  # as the run that is resumed does
        assert held(checkpoints) == in_the_end
    assert 2 <= change < 99


def held_after(step, tmp_path):
    """What is held where nothing was killed."""
    plain = Checkpoints(Storage(str(tmp_path)), keep=1, keep_best=1)
    for number in range(1, step + 1):
        validated(plain, number)
    return held(plain)


def test_commits_of_steps_that_are_undone_are_removed_and_named(best_kept):
    for step in (1, 2, 3, 4):
        validated(best_kept, step)
    assert [version.step for version in best_kept.drop_after(3)] == [4] and held(best_kept) == {2: False}


def test_commits_of_an_earlier_release_are_ranked_nowhere(best_kept):
    folder = commit(best_kept, 1)
    manifest = json.loads(folder.read("manifest.json"))
    folder.write("manifest.json", json.dumps({name: manifest[name] for name in ("state", "sha256")}).encode())
    (version,) = best_kept.versions()
    assert version.whole and version.validation is None and best_kept.load(folder) == {"step": 1}


def test_what_a_commit_needs_is_known_before_the_first_one(tmp_path):
    checkpoints = Checkpoints(Storage(f"{tmp_path}/checkpoints"), 2)
    assert checkpoints.missing_space(estimate=10) == "" and checkpoints.newest_words() == "there is none so far"
    assert f"the disk of {tmp_path}/checkpoints, /" in checkpoints.missing_space(estimate=2**60)
    assert "lacks the 1073741824.0 GiB for it" in checkpoints.missing_space(estimate=2**60)
    commit(checkpoints, 1)
    assert checkpoints.missing_space(estimate=2**60) == "", "what the last one took is known"
    assert checkpoints.newest_words() == "the last one is step-0000001"
