"""Finding a worker of a run among the actors of its cluster."""

import pytest

from cluster.errors import UserError


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def test_a_worker_is_found_by_its_name_and_the_known_ones_are_told(run):
    from ray.util.state.common import ActorState

    from cluster.control.worker_log import pick_worker

    def actor(id, name, job="01", kind="RolloutWorker", namespace="x", pid=7):
        return ActorState(
            actor_id=id,
            class_name=kind,
            state="ALIVE",
            job_id=job,
            name=name,
            node_id="n",
            pid=pid,
            ray_namespace=namespace,
        )

    other = actor("a9", f"{run.name}/rollout-0", job="02")  # of a run of the same name in another folder
    own = [
        actor("a1", str(run), kind="RunActor", namespace="curlvpr"),
        actor("a2", f"{run.name}/rollout-0"),
        actor("a3", f"{run.name}/reward-1-start-4"),
        actor("a4", "", kind="RayTrainWorker", pid=99),
    ]
    found = [other, *own]
    assert [pick_worker(found, run, name) for name in ("rollout-0", "reward-1-start-4", "learner-99")] == [
        "a2",
        "a3",
        "a4",
    ]
    with pytest.raises(
        UserError, match="rollout-5: .* has no such worker now; it has learner-99, reward-1-start-4, rollout-0$"
    ):
        pick_worker(found, run, "rollout-5")
    with pytest.raises(UserError, match="is not in progress"):
        pick_worker([other], run, "rollout-0")
