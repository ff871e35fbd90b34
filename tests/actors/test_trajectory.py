"""What travels between the workers of a run."""

import hashlib
import pickle

import numpy as np
import pytest

from actors.trajectory import ARRAYS, Group, Sample, Trajectory, sampling_seed


def trajectory(length, seed):
    rng = np.random.default_rng(seed)
    return Trajectory(
        f"response {seed}",
        rng.integers(0, 100, length).astype(np.int32),
        -rng.random(length).astype(np.float32),
        np.full(length, seed, np.int32),
        np.arange(1, length + 1, dtype=np.int32),
        "length" if seed % 2 else "stop",
        seed,
    )


@pytest.mark.parametrize("lengths", [(), (4,), (3, 0, 5)])
def test_a_group_arrives_as_it_left(lengths):
    prompt = np.array([7, 8, 9], np.int32)
    group = Group("g", None, prompt, tuple(trajectory(length, seed) for seed, length in enumerate(lengths)))
    copy = pickle.loads(pickle.dumps(group))
    assert (copy.group_id, copy.task, copy.prompt_ids.tolist()) == ("g", None, [7, 8, 9])
    assert len(copy.trajectories) == len(lengths)
    for ours, theirs in zip(group.trajectories, copy.trajectories, strict=True):
        assert (ours.text, ours.finish, ours.seed) == (theirs.text, theirs.finish, theirs.seed)
        assert ours.truncated == theirs.truncated == (ours.finish == "length")
        for name in ARRAYS:
            sent, received = getattr(ours, name), getattr(theirs, name)
            assert sent.dtype == received.dtype and sent.tolist() == received.tolist()


def test_a_sample_is_as_long_as_prompt_and_response():
    assert len(Sample(np.zeros(5, np.int32), (), np.zeros(3, np.int32))) == 8


def test_the_seed_of_a_group_is_that_of_the_first_release():
    """Resumed runs must draw the same samples: 31 bits of a SHA-256."""
    digest = hashlib.sha256(b"7/task-3/2").hexdigest()
    assert sampling_seed(7, "task-3", 2) == int(digest[:8], 16) & 0x7FFFFFFF
