from collections import Counter

import numpy as np
import pytest

from curriculum.sampling.choice import FLOOR, RARE_SHARE, choose
from curriculum.sampling.expectations import Expectations
from curriculum.sampling.likeness import Likeness


def likeness(task, finding="x"):
    return Likeness(task, "letters", "single", "single", (finding,))


def test_chances_follow_the_expected_signal_with_a_floor_and_a_share_for_rare_findings():
    ours = Expectations()
    for n in range(8):
        ours.observe(likeness("solved", "common"), [1] * 8, n)
        ours.observe(likeness("open", "common"), [1, 0] * 4, n)
    ours.observe(likeness("other", "rare"), [1] * 8, 8)
    candidates = [likeness("solved", "common"), likeness("open", "common"), likeness("other", "rare")]
    rng = np.random.default_rng(0)
    drawn = Counter(choose(candidates, ours, 8, rng) for _ in range(20_000))
    signals = np.array([FLOOR + (1 - FLOOR) * ours.of(c).signal(8) for c in candidates])
    groups = [ours.groups(f"finding single: {name}") for name in ("common", "common", "rare")]
    rarity = 1 / (1 + np.array(groups))
    expected = (1 - RARE_SHARE) * signals / signals.sum() + RARE_SHARE * rarity / rarity.sum()
    assert [drawn[n] / 20_000 for n in range(3)] == pytest.approx(expected.tolist(), abs=0.012)
    assert drawn[1] > 5 * drawn[0] > 0


def test_one_candidate_is_taken():
    assert choose([likeness("a")], Expectations(), 4, np.random.default_rng(0)) == 0
