"""In which order a version goes out: with each transport, and with and without a wait."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.weights.transports.base import Sent
from actors.weights.version import Version
from cluster.config.recipe_file import load_recipe
from cluster.run.publishing import Publisher

SMOKE = Path(__file__).parents[3] / "recipes/smoke.yaml"


class Calls:
    """Learner and rollout pool: they write down what is asked of them."""

    def __init__(self):
        self.made = []

    def publish(self, version, probe, receivers):
        self.made.append(("send", version.number, len(receivers)))
        return Sent(max(0, len(receivers) - 1), ["one did not come"] if receivers else [], 12)

    def finish(self, wait):
        assert not wait
        self.made.append("look at the learner")

    def begin_update(self, version, after_previous, meanwhile):
        if after_previous:
            self.made.append("previous")
            meanwhile()
        self.made.append(("announce", version.number))

    def receivers(self):
        return {"actor 0": "rollout-0", "actor 1": "rollout-1"}

    def wait_until_current(self, meanwhile):
        self.made.append("current")

    def sleep(self):
        self.made.append("sleep")

    def cancel_version(self):
        self.made.append("cancel")


def publisher(phantom_tasks, *settings):
    calls, said = Calls(), []
    recipe = load_recipe(SMOKE, list(settings))
    context = SimpleNamespace(
        recipe=recipe,
        test_tasks=phantom_tasks,
        workers=SimpleNamespace(learner=calls, rollouts=calls),
        position=SimpleNamespace(weights=Version(0, 1)),
        phases=SimpleNamespace(phase=lambda name: nullcontext()),
        display=SimpleNamespace(say=said.append),
    )
    return Publisher(context), calls.made, context.position, said


@pytest.mark.parametrize(
    "transport, first, ahead, share",
    [
        (
            "store",
            [("send", 1, 0), ("announce", 1), "current"],
            [("send", 2, 0), "previous", "look at the learner", ("announce", 2)],
            None,
        ),
        (
            "collective",
            [("announce", 1), ("send", 1, 2), "current"],
            ["previous", "look at the learner", ("announce", 2), ("send", 2, 2)],
            0.5,
        ),
    ],
)
def test_a_version_is_announced_before_a_direct_transfer_and_after_any_other(
    phantom_tasks, transport, first, ahead, share
):
    published, made, position, said = publisher(phantom_tasks, f"transport={transport}")
    published.publish(wait=False)  # the first one is waited for in any case
    assert made == first and published.direct_share == share and published.version_bytes == 12
    published.publish()
    assert made == first  # there is nothing new
    position.weights = Version(0, 2)
    published.publish(wait=False)
    assert made == first + ahead
    assert said == (["one did not come"] * 2 if share else [])


def test_after_a_withdrawn_version_and_after_sleep_the_next_one_is_waited_for(phantom_tasks):
    published, made, position, _ = publisher(phantom_tasks, "rollout.sleep=true", "transport=store")
    published.publish()
    published.withdraw()
    published.publish(wait=False)
    published.free_gpus()
    position.weights = Version(1, 2)
    published.publish(wait=False)
    whole = [("send", 1, 0), ("announce", 1), "current"]
    assert made == [*whole, "cancel", *whole, "sleep", ("send", 2, 0), ("announce", 2), "current"]
