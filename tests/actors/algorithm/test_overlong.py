"""What a response loses for being too long."""

import pytest

from actors.algorithm.overlong import with_overlong_penalty
from tests.support.rewards.scored_groups import scored_group


@pytest.mark.parametrize(
    "tokens, cut, lost",
    [(10, False, 0.0), (80, False, 0.0), (85, False, 0.25), (90, False, 0.5), (100, False, 1.0), (40, True, 1.0)],
)
def test_a_long_response_loses_more_the_longer_it_is(tokens, cut, lost):
    group = scored_group("g", [0.75, 0.5], [tokens, 3], "length" if cut else "stop")
    verdict, other = with_overlong_penalty(group.verdicts, group.group.trajectories, 100, 0.2, 2.0)
    assert verdict.total == pytest.approx(0.75 - 2 * lost) and verdict.base == pytest.approx(0.75 - 2 * lost)
    assert bool(verdict.why) == (lost > 0) and verdict.outcome == 0.75
    assert cut or other == group.verdicts[1]
