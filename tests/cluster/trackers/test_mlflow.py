"""MLflow without a server holds what the run folder holds."""

from cluster.trackers.mlflow import flat_parameters
from tests.support.tracked_run import write_steps


def test_mlflow_holds_every_number_over_two_sessions(offline):
    from mlflow.tracking import MlflowClient

    run = offline / "first"
    assert write_steps(run, "mlflow", (1, 2)) + write_steps(run, "mlflow", (3,)) == []
    client = MlflowClient()
    [kept] = client.search_runs([client.get_experiment_by_name("curlvpr").experiment_id])
    assert kept.info.run_name == "first" and kept.data.params["rollout.workers"] == "1"
    history = client.get_metric_history(kept.info.run_id, "closed/step/reward")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_recipe_becomes_parameters_by_their_paths():
    tree = {"name": "a", "stages": [{"name": "closed"}], "model": {"tiny": {"layers": 2}}, "text": "x" * 600}
    assert flat_parameters(tree) == [
        ("name", "a"),
        ("stages", "[{'name': 'closed'}]"),
        ("model.tiny.layers", "2"),
        ("text", "x" * 500),
    ]
