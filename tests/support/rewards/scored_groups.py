"""Groups of empty responses with given rewards."""

import numpy as np

from actors.trajectory import Group, ScoredGroup, Trajectory
from rewards.verdict import Verdict


def scored_group(name, rewards, lengths=None, finish="stop", steps=()):
    lengths = lengths or [4] * len(rewards)
    ids = [np.zeros(n, np.int32) for n in lengths]
    trajectories = tuple(Trajectory("", i, i.astype(np.float32), i, i, finish, 0) for i in ids)
    return ScoredGroup(
        Group(name, None, np.zeros(1, np.int32), trajectories),
        tuple(Verdict(r, r, 1, r, 0, 0, None, steps) for r in rewards),
    )
