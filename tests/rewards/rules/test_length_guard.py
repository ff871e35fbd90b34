import pytest

from rewards.own import length_guard
from tests.support.rewards.responses import SINGLE


@pytest.mark.parametrize(
    "words, value", [(0, 0), (5, 0.5), (10, 1), (15, 1), (20, 1), (25, 0.75), (30, 0.5), (40, 0), (100, 0)]
)
def test_no_loss_between_the_limits(words, value):
    assert length_guard(SINGLE, "word " * words, None, least=10, most=20) == pytest.approx(value)


def test_no_lower_limit():
    assert length_guard(SINGLE, "word", None, least=0, most=1) == 1
