"""The quota of a token limits what its runs hold at once."""

import json
from dataclasses import replace

from fastapi.testclient import TestClient

from cluster.config.recipe_file import parse_recipe
from cluster.control.ray_jobs import Job
from cluster.service.app import build
from cluster.service.quotas import Holding, holding, quota_fault
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from cluster.service.tokens import Quota, new_token


def limited(root, **quotas):
    """For each token, its quota as keywords: what asks for /v1/runs as that token, the path and the body given."""
    made = {name: new_token(name, "operate", Quota(**quota)) for name, quota in quotas.items()}
    client = TestClient(build(root, [token for _, token in made.values()]), raise_server_exceptions=False)

    def ask(name, path, body):
        answer = client.post(f"/v1/runs{path}", json=body, headers={"Authorization": f"Bearer {made[name][0]}"})
        return answer.status_code, answer.json().get("detail")

    return ask


SIZED = RECIPE | {
    "rollout": {"workers": 2, "cpus": 1.5, "min": 1, "max": 4},
    "reward": {"workers": 2, "cpus": 0.5},
    "learner": {"workers": 2, "cpus": 2},
}  # at its largest: 6 + 1 + 4


def test_the_runs_of_a_token_hold_no_more_than_its_quota(tmp_path, jobs):
    ask = limited(tmp_path, ada={"cpus": 25}, bob={})
    assert ask("ada", "", {"recipe": SIZED, "name": "one"})[0] == ask("ada", "", {"recipe": SIZED})[0] == 201
    assert [(job.run, job.token) for job in jobs] == [("quickstart", "ada"), ("one", "ada")]
    refused = 409, "the quota of ada: cpus: at most 25 at once; this run takes 11, one holds 11, quickstart holds 11"
    assert (
        ask("ada", "", {"recipe": SIZED, "name": "three"}) == refused
        and not (tmp_path / ".submitted" / "three.yaml").exists()
    )
    assert ask("bob", "", {"recipe": SIZED, "name": "four"})[0] == 201
    assert ask("ada", "", {"recipe": SIZED, "name": "three"}) == refused  # what bob's hold is not ada's
    jobs[2] = replace(jobs[2], going=False)
    assert ask("ada", "", {"recipe": SIZED, "name": "three"})[0] == 201


def test_a_run_does_not_grow_beyond_the_quota_of_who_started_it(tmp_path, jobs, monkeypatch):
    ask = limited(tmp_path, ada={"cpus": 11.5}, bob={"cpus": 0})
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.yaml").write_text(json.dumps(SIZED))
    jobs.append(Job("one", "ada", 0, True, ""))
    assert "is not in progress" in ask("bob", "/one/scale", {"reward": 4})[1]
    monkeypatch.setattr("cluster.service.run_jobs.reach_run", lambda run: None)  # a run that goes on
    assert ask("bob", "/one/scale", {"reward": 4}) == (
        409,
        "the quota of ada: cpus: at most 11.5 at once; this run takes 12",
    )
    assert (
        "is not in progress" in ask("bob", "/one/scale", {"reward": 3})[1]
    )  # within: then the run is asked, which nobody holds
    assert ask("bob", "/one/resume", {}) == (409, "the last job of run one has not ended yet; ask again in a moment")
    jobs.clear()
    assert ask("bob", "/one/resume", {}) == (409, "the quota of bob: cpus: at most 0 at once; this run takes 11")


def test_gpus_and_runs_have_quotas_too(tmp_path, jobs):
    ask = limited(tmp_path, ada={"gpus": 3, "runs": 1})
    large = SIZED | {"rollout": {"workers": 2, "gpus": 1}, "learner": {"workers": 2, "gpus": 1}}
    assert ask("ada", "", {"recipe": large}) == (409, "the quota of ada: gpus: at most 3 at once; this run takes 4")
    assert ask("ada", "", {"recipe": SIZED})[0] == 201
    refused = 409, "the quota of ada: runs: at most 1 at once; this run takes 1, quickstart holds 1"
    assert ask("ada", "", {"recipe": SIZED}) == refused
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "recipe.yaml").write_text("broken: [")  # how large it is cannot be known; it is a run
    assert ask("ada", "", {"recipe": SIZED}) == refused


def test_a_run_holds_what_its_recipe_lets_it_grow_to_or_what_it_was_scaled_to():
    sized = parse_recipe(SIZED, "recipe")
    assert holding(sized, 0.5, {}) == Holding(cpus=0.5 + 4 * 1.5 + 2 * 0.5 + 2 * 2, gpus=0)
    assert holding(sized, 0, {"reward": 6, "rollout": None}) == Holding(cpus=4 * 1.5 + 6 * 0.5 + 2 * 2, gpus=0)
    assert holding(sized, 0, {"rollout": 5}).cpus == 5 * 1.5 + 2 * 0.5 + 2 * 2  # more than its `max`


def test_workers_of_a_rule_are_held_too():
    rule = {"rule": "m:Metric", "weight": 0.1, "workers": 3, "cpus": 2, "gpus": 0.5}
    sized = parse_recipe(SIZED | {"reward": SIZED["reward"] | {"rules": {"own": {"metric": rule}}}}, "recipe")
    plain = holding(parse_recipe(SIZED, "recipe"), 0.5, {})
    assert holding(sized, 0.5, {}) == Holding(cpus=plain.cpus + 6, gpus=1.5)


def test_a_limit_itself_is_within_the_quota():
    quota = Quota(cpus=10, gpus=1)
    assert quota_fault(quota, Holding(4, 1), {"one": Holding(6, 0)}) == ""
    assert quota_fault(quota, Holding(4.5, 1), {"one": Holding(6, 0)}) == (
        "cpus: at most 10 at once; this run takes 4.5, one holds 6"
    )
