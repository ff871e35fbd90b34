"""Runs started over HTTP: their jobs, and the status of a run whose folder does not exist yet."""

import json
import os
import re
from dataclasses import replace

from cluster.service.routes.runs_schema import EXAMPLE as RECIPE


def test_a_run_is_started_on_the_cluster_that_the_service_is_in(client, tmp_path, monkeypatch, ray_session):
    import ray

    submitted = []
    monkeypatch.setattr(
        "cluster.service.run_jobs.submit_command", lambda *args, **more: (None, submitted.append(more) or "job")
    )
    answer = client.post("/v1/runs", json={"recipe": RECIPE | {"root": "/elsewhere"}})
    assert answer.status_code == 201 and answer.json() == {"run": "quickstart", "job": "job"}
    assert submitted[0]["address"] == ray.get_runtime_context().gcs_address
    assert json.loads((tmp_path / "runs" / ".submitted" / "quickstart.yaml").read_text())["root"] == str(
        tmp_path / "runs"
    )


def test_a_run_is_told_from_its_start_on(client, tmp_path, jobs):
    """Also before its job has made a folder, where that failed, and when it is resumed."""

    def stands():
        told = client.get("/v1/runs").json()
        assert told == [client.get("/v1/runs/one").json()]
        return told[0]["status"], told[0].get("why")

    assert client.post("/v1/runs", json={"recipe": RECIPE, "name": "one"}).status_code == 201
    assert stands() == ("starting", None)
    answer = client.get("/v1/runs/one/metrics")
    assert answer.status_code == 409 and "has no folder yet" in answer.json()["detail"]
    assert "exists already" in client.post("/v1/runs", json={"recipe": RECIPE, "name": "one"}).json()["detail"]
    jobs[0] = replace(jobs[0], going=False, why="curlvpr: no room")
    assert stands() == ("failed", "curlvpr: no room")
    run = tmp_path / "runs" / "one"
    run.mkdir()
    (run / "recipe.yaml").write_text(json.dumps(RECIPE))
    (run / "summary.json").write_text(json.dumps({"status": "stopped"}))
    jobs[0] = replace(jobs[0], going=True)
    assert stands() == ("stopped", None)  # that job is just ending
    jobs[0] = replace(jobs[0], going=False)
    for name in ("recipe.yaml", "summary.json"):
        os.utime(run / name, (1, 1))
    assert client.post("/v1/runs/one/resume").status_code == 202 and stands() == ("starting", None)


def test_a_run_that_no_cluster_takes_leaves_nothing_behind(client, tmp_path):
    answer = client.post("/v1/runs", json={"recipe": RECIPE})
    assert answer.status_code == 503 and re.search("in no cluster|takes no job", answer.json()["detail"])
    assert not list((tmp_path / "runs" / ".submitted").glob("*.yaml")) and client.get("/v1/runs").json() == []


def test_two_services_with_one_folder_do_not_take_the_same_name(client, tmp_path, jobs):
    """The other one is on a cluster whose jobs this one cannot see."""
    assert client.post("/v1/runs", json={"recipe": RECIPE, "name": "one"}).status_code == 201
    jobs.clear()
    answer = client.post("/v1/runs", json={"recipe": RECIPE, "name": "one"})
    assert answer.status_code == 409 and "exists already" in answer.json()["detail"]
    os.utime(tmp_path / "runs" / ".submitted" / "one.yaml", (1, 1))  # it never made a run folder
    assert client.post("/v1/runs", json={"recipe": RECIPE, "name": "one"}).status_code == 201


def test_a_root_that_cannot_be_written_is_told(client, tmp_path, jobs):
    (tmp_path / "runs" / ".submitted").write_text("a file")
    answer = client.post("/v1/runs", json={"recipe": RECIPE})
    assert answer.status_code == 503 and "the folder of runs" in answer.json()["detail"]
