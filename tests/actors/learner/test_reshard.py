"""A commit of two ranks goes on with one, and that of one with two: weights, moments and AdamW's settings are the same
numbers.
"""

import pytest
from safetensors.torch import load_file

from actors.learner.config import Freeze
from actors.learner.orders import Load, Save
from actors.learner.sft_update import SftUpdate
from actors.model.config import Lora
from actors.runtime.storage import POLICY, Storage
from tests.support.learner.ranks import ENTIRELY, same

LR = 1e-3


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(dict(zero_stage=0, freeze=Freeze(embedding=True)), marks=pytest.mark.slow),
        pytest.param(dict(zero_stage=1, dtype="bfloat16"), marks=pytest.mark.slow),
        pytest.param(dict(zero_stage=2, freeze=Freeze(vision=True, layers=1)), marks=pytest.mark.slow),
        dict(zero_stage=2, lora=Lora(rank=4)),
        dict(zero_stage=3, dtype="bfloat16", lr_scale={"vision": 0.5}, freeze=Freeze(projector=True)),
    ],
    ids=str,
)
def test_a_commit_goes_on_with_another_number_of_ranks(one, two, phantom_tasks, tmp_path, config):
    def moved(world, place):
        """A commit in new ranks."""
        world.make(zero=ENTIRELY, weight_decay=0.1, **config)
        world.call(Load(place))
        return world.first("optimiser"), world.first("state")

    def commit(world, name):
        place = Storage(str(tmp_path / name))
        place.clear()
        written = [digest for files in world.every(Save(place)) for digest in files.items()]
        assert all(place.digest(name) == digest for name, digest in written)
        return place

    two.make(zero=ENTIRELY, weight_decay=0.1, **config)
    two.update(SftUpdate(phantom_tasks[:4], LR))
    first, weights = two.first("optimiser"), two.first("state")
    by_two = commit(two, "two")
    straight = two.update(SftUpdate(phantom_tasks[4:8], LR))
    end, end_weights = two.first("optimiser"), two.first("state")

    for world, place in ((one, by_two), (two, None)):
        (held, told, steps), state = moved(world, place or commit(one, "one"))
        assert same(held, first[0]) and same(state, weights)
        assert (told, steps) == first[1:] and steps == [1.0]
        assert not (tmp_path / "two" / "resharded").exists()
    served = [load_file(tmp_path / name / POLICY) for name in ("one", "two")]
    assert same(*served)
    assert two.update(SftUpdate(phantom_tasks[4:8], LR)) == straight
    assert same(two.first("optimiser")[0], end[0]) and same(two.first("state"), end_weights)

    moved(one, by_two)
    row = one.update(SftUpdate(phantom_tasks[4:8], LR))
    assert row["loss"] == pytest.approx(straight["loss"], rel=1e-5)
