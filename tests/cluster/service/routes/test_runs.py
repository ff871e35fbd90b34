"""/v1/runs: runs as their folders have them, and requests that are refused."""

import json
import re
import shutil

import pytest
from fastapi.testclient import TestClient

from cluster.service.app import build
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from cluster.service.tokens import new_token


def test_runs_are_told_as_their_folders_tell_them(service, run):
    summary = json.loads((run / "summary.json").read_text())
    status, runs = service("GET", "/v1/runs", role="read")
    assert status == 200 and run.name in [told["run"] for told in runs]
    status, told = service("GET", f"/v1/runs/{run.name}")
    assert (told["status"], told["steps"], told["ledger"]) == ("finished", summary["steps"], summary["ledger"])
    status, answer = service("GET", f"/v1/runs/{run.name}/metrics?after=12")
    assert {row["stage"] for row in answer["rows"]} == {"closed", "open"} and min(
        row["step"] for row in answer["rows"]
    ) == 13
    status, page = service("GET", f"/v1/runs/{run.name}/report")
    assert status == 200 and "Reward and its parts" in page
    status, stream = service("GET", f"/v1/runs/{run.name}/events")
    _, rows = service("GET", f"/v1/runs/{run.name}/metrics")
    first, *events = stream.removesuffix("\n\n").split("\n\n")
    assert status == 200 and first.startswith('event: status\ndata: {"run": "first", "status": "finished"')
    told = [re.fullmatch(r"event: metrics\nid: (\d+)\ndata: (\{.*\})", event).groups() for event in events]
    assert [(int(number), json.loads(row)) for number, row in told] == list(enumerate(rows["rows"], 1))
    _, rest = service("GET", f"/v1/runs/{run.name}/events", headers={"Last-Event-ID": "3"})
    assert rest == stream.replace("\n\n".join(["", *events[:3]]), "", 1)


def test_a_run_that_does_not_go_on_or_is_not_there_is_told(service, run):
    assert service("POST", f"/v1/runs/{run.name}/scale", {"rollout": 2})[0] == 409
    assert service("POST", f"/v1/runs/{run.name}/pause")[0] == 409
    assert service("POST", f"/v1/runs/{run.name}/profile", {"steps": 2})[0] == 409
    for name in ("nosuch", "..", "%2e%2e", "..%2f..%2fetc", ".submitted", "a" * 200):
        assert service("GET", f"/v1/runs/{name}")[0] == 404
    assert service("POST", f"/v1/runs/{run.name}/scale", {})[0] == 422
    assert service("POST", f"/v1/runs/{run.name}/profile", {"steps": 21})[0] == 422
    assert service("POST", f"/v1/runs/{run.name}/burn")[0] == 422


@pytest.mark.parametrize(
    "change, words",
    [
        ({"rollot": {}}, "did you mean 'rollout'"),
        ({"data": {"tasks": "/etc"}}, "data.tasks: /etc is outside"),
        ({"data": {"tasks": "../../etc"}}, "is outside"),
        ({"model": {"path": "/elsewhere/model"}}, "model.path: /elsewhere/model is outside"),
        ({"checkpoint": {"storage": "s3://other/place"}}, "checkpoint.storage: s3://other/place is outside"),
    ],
)
def test_a_recipe_is_checked_and_kept_to_its_places(service, change, words):
    status, answer = service("POST", "/v1/runs", {"recipe": RECIPE | change})
    assert status == 422 and words in answer["detail"]


def test_films_outside_are_in_neither_page_nor_report(run, tmp_path):
    """A run whose images are a link out of the root; allowed, they are shown. A look at the report writes nothing."""
    text, token = new_token("ada", "read")
    films, copy = tmp_path / "films", tmp_path / "runs" / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("learner", "checkpoints"))
    shutil.move(copy / "data" / "images", films)
    (copy / "data" / "images").symlink_to(films)
    before = (copy / "report.html").read_bytes()
    for allowed, shown in (((), False), ((str(films),), True)):
        client = TestClient(build(tmp_path / "runs", [token], allowed), headers={"Authorization": f"Bearer {text}"})
        for part in ("panel", "report"):
            answer = client.get(f"/v1/runs/copy/{part}")
            assert answer.status_code == 200 and ("data:image/jpeg" in answer.text) == shown
            assert ("outside what this service may show" in answer.text) != shown
    assert (copy / "report.html").read_bytes() == before


def test_a_run_that_is_a_link_out_of_the_root_is_none(client, tmp_path):
    for place in ("outside", "shared", "runs"):
        (tmp_path / place / "run").mkdir(parents=True)
        (tmp_path / place / "run" / "recipe.yaml").write_text("name: run\n")
    for name in ("outside", "shared"):
        (tmp_path / "runs" / name).symlink_to(tmp_path / name / "run")
    assert {told["run"] for told in client.get("/v1/runs").json()} == {"run", "shared"}
    assert client.get("/v1/runs/outside").status_code == 404 and client.get("/v1/runs/shared").status_code == 200


@pytest.mark.parametrize("secret", ["s3://me:hunter2hunter2@bucket/a", "AKIA" + "ABCDEFGHIJKLMNOP"])
def test_a_recipe_with_a_secret_is_refused_and_the_secret_not_repeated(client, tmp_path, secret):
    answer = client.post("/v1/runs", json={"recipe": RECIPE | {"checkpoint": {"storage": secret}}})
    assert answer.status_code == 422 and "in the environment of the cluster's nodes" in answer.json()["detail"]
    assert secret not in answer.text and not (tmp_path / "runs" / ".submitted").exists()
