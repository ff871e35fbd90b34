"""Chooses among the accepted traces of a task: the best one, then those that are least like the ones chosen."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.comparison.overlap import rouge_l


def pick_diverse(texts: Sequence[str], rewards: Sequence[float], count: int) -> list[str]:
    """At most `count` different texts.

    The first has the highest reward (of equals, the first). Each further one is the least alike, by ROUGE-L, to the one
    of those chosen that it is most like.

    Args:
        texts: accepted traces of one task.
        rewards: what the rules pay for each.
        count: how many are wanted.
    """
    reward_of: dict[str, float] = {}
    for text, reward in zip(texts, rewards, strict=True):
        reward_of.setdefault(text, reward)
    left = list(reward_of)
    if not left or count < 1:
        return []
    picked = [max(left, key=reward_of.__getitem__)]
    left.remove(picked[0])
    likeness = {text: rouge_l(text, picked[0]) for text in left}
    while left and len(picked) < count:
        following = min(left, key=likeness.__getitem__)
        left.remove(following)
        picked.append(following)
        for text in left:
            likeness[text] = max(likeness[text], rouge_l(text, following))
    return picked
