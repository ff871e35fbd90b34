"""Orders: light to make, run by every rank, and open to further ones from outside."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import ray

from actors.learner.orders import Order, UpdateAndReadAhead, UpdateOrder, UpdateResult
from actors.learner.sft_update import SftUpdate
from actors.runtime.remote import RemoteFailure
from tests.support.learner.ranks import same

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests


@dataclass(frozen=True)
class Pull(UpdateOrder):
    """A stage's own way to learn: moves the output layer a little towards zero."""

    share: float
    name: ClassVar[str] = "pull"

    def run(self, rank):
        weight = rank.policy.get_parameter("model.lm_head.weight")
        loss = self.share * weight.square().sum() / 2
        rank.engine.backward(loss / rank.world, last=True)
        values, non_finite = rank.step(1e-3, {"loss": rank.sum(loss.item()) / rank.world}, [], set())
        return UpdateResult(values, non_finite)


def test_an_update_of_ones_own_runs_on_every_rank(one, two):
    ends = []
    for world in (one, two):
        world.make(weight_decay=0)
        before = world.first("state")
        results = world.every(Pull(0.5))
        assert len(results) == len(world.hosts) and all(result == results[0] for result in results)
        assert results[0].numbers["skipped"] == 0 and results[0].numbers["grad_norm"] > 0
        ends.append(world.first("state"))
        changed = {name for name, value in ends[-1].items() if (value != before[name]).any()}
        assert changed == {"lm_head.weight"}
    assert same(*ends)


def test_films_of_the_next_step_are_read_meanwhile_and_change_no_number(two, phantom_tasks, tmp_path):
    """One of them cannot be read: that is an error where it is used."""
    steps, rows, states = (phantom_tasks[:4], phantom_tasks[40:44]), [], []
    broken = tmp_path / "no.png"
    broken.write_text("<html>log in first</html>")
    films = [str(broken), *(image for task in steps[1] for image in task.images)]
    for ahead in (False, True):
        two.make(film_threads=2)
        orders = [SftUpdate(step, 1e-3) for step in steps]
        if ahead:
            orders = [UpdateAndReadAhead(orders[0], films), UpdateAndReadAhead(orders[1], ())]
        rows.append([two.update(order) for order in orders])
        states.append(two.first("state"))
    assert [row.pop("film_wait_s") >= 0 for row in rows[1]] == [True, True]
    assert rows[0] == rows[1] and same(*states)
    bad = [task.model_copy(update={"images": (str(broken),)}) for task in phantom_tasks[:2]]
    with pytest.raises(RemoteFailure, match=r"no\.png: not an image that can be read"):
        two.update(SftUpdate(bad, 1e-3))


def test_names_are_what_errors_call_the_orders():
    def kinds(order):
        return {order, *(kind for sub in order.__subclasses__() for kind in kinds(sub))}

    from actors.learner.grpo_update import GrpoUpdate
    from actors.learner.sft_update import RftUpdate, SftUpdate

    assert (GrpoUpdate.name, SftUpdate.name, RftUpdate.name) == ("grpo", "sft", "rft")
    named = [kind.name for kind in kinds(Order) if "name" in vars(kind)]
    assert len(set(named)) == len(named) >= 12


def test_the_runs_own_process_needs_no_torch_to_make_orders():
    modules = "actors.learner.orders, actors.learner.sft_update, actors.learner.grpo_update, actors.weights.transports"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
