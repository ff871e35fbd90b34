"""What the service lets in and out, asked of its application itself: no Ray Serve, no run."""

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.config.recipe_file import parse_recipe
from cluster.control.ray_jobs import Job
from cluster.errors import UserError
from cluster.service.allowlist import check_recipe, film_below
from cluster.service.app import build
from cluster.service.chat_policy import IMAGES, MAX_PIXELS, ChatRefused, _with_images
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from cluster.service.tokens import Quota, find_token, new_token, read_tokens


@pytest.fixture
def client(tmp_path):
    """The application for the runs of tmp_path/runs, called by who may operate."""
    text, token = new_token("ada", "operate")
    (tmp_path / "runs").mkdir()
    app = build(tmp_path / "runs", [token], [str(tmp_path / "shared")])
    return TestClient(app, headers={"Authorization": f"Bearer {text}"}, raise_server_exceptions=False)


def own(rule, **options):
    return RECIPE | {"reward": {"rules": {"own": {"mine": {"rule": rule, "weight": 0.1, "options": options}}}}}


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/rewards/score", DEEP),
        ("/v1/rewards/score", f'{{"responses": {DEEP}}}'),
        ("/v1/rewards/score", '{"responses": [NaN]}'),
        ("/v1/rewards/score", "[" * 100_000 + "]" * 100_000),
        ("/v1/rewards/score", '{"\\ud800": 1}'),
        ("/v1/rewards/score", "{"),
        (
            "/v1/rewards/score",
            '{"responses": [{"domain": "open", "gold": "\\ud800", "response": "", "form": "boxes"}]}',
        ),
        ("/v1/rewards/score", '{"responses": [{"domain": "open", "gold": "Mass", "response": "\\ud800"}]}'),
        ("/v1/runs", f'{{"recipe": {{"x": {DEEP}}}}}'),
        (
            "/v1/runs",
            json.dumps({"recipe": own("rewards.own:stage_order", stages=0)}).replace(
                '"stages": 0', f'"stages": {DEEP}'
            ),
        ),
        ("/v1/runs", json.dumps({"recipe": RECIPE | {"name": "a" * 300}})),
        ("/v1/runs", json.dumps({"recipe": RECIPE | {"checkpoint": {"storage": "/\0"}}})),
    ],
)
def test_a_strange_body_is_refused_in_words_and_not_repeated(client, path, body):
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and len(answer.content) < 2000 and answer.json()["detail"]


def test_a_request_without_its_length_is_refused(client):
    assert client.post("/v1/rewards/score", content=iter([b"{}"])).status_code == 411


@pytest.mark.parametrize("rule", ["os:system", "subprocess:run", "rewards.owner:rule", "tests.mine:rule"])
def test_a_submitted_recipe_names_no_rule_that_is_not_allowed(rule):
    with pytest.raises(
        UserError, match=r"reward.rules.own.mine: this service may not use rules of .* --allow rules:MODULE"
    ):
        check_recipe(parse_recipe(own(rule), "recipe"), ["/shared"])


def test_rules_that_are_allowed_can_be_named():
    check_recipe(parse_recipe(own("rewards.own:length_guard", least=1, most=2), "recipe"), ["/shared"])
    for rule in ("my_rules:one", "my_rules.deeper:two"):
        check_recipe(parse_recipe(own(rule), "recipe"), ["/shared", "rules:my_rules"])


@pytest.mark.parametrize(
    "storage, fits",
    [
        ("s3://bucket/a", True),
        ("s3://bucket/a/b", True),
        ("s3://bucket/a/b?endpoint_override=elsewhere", False),
        ("s3://bucket/a/%2e%2e/b", False),
        ("s3://bucket/a#/b", False),
        ("file:///shared/runs", False),
        ("s3://own/a?region=here", True),
        ("s3://own/a", False),
        ("s3://own/a?region=there", False),
        ("rules:my_rules/a", False),
    ],
)
def test_a_bucket_is_reached_as_the_service_was_told(storage, fits):
    recipe = parse_recipe(RECIPE | {"checkpoint": {"storage": storage}}, "recipe")
    allowed = ["/shared", "s3://bucket/a", "s3://own?region=here", "rules:my_rules"]
    if fits:
        check_recipe(recipe, allowed)
    else:
        with pytest.raises(
            UserError, match="checkpoint.storage: .* is outside what .* may use: /shared, s3://bucket/a, s3"
        ):
            check_recipe(recipe, allowed)


@pytest.fixture
def places(tmp_path):
    """A folder that is allowed, shared, with a film, a link in it that leads out, and a film outside."""
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    for folder in (shared, outside):
        folder.mkdir()
        Image.new("L", (8, 8)).save(folder / "film.png")
    (shared / "link.png").symlink_to(outside / "film.png")
    (shared / "folder").symlink_to(outside)
    return shared, outside


def test_a_film_outside_is_not_shown(places):
    shared, outside = places
    film = film_below([str(shared)])
    assert film(str(shared / "film.png"))[0].startswith("data:image/jpeg")
    for path in (
        outside / "film.png",
        shared / "link.png",
        shared / "folder" / "film.png",
        shared / ".." / "outside" / "film.png",
    ):
        uri, why = film(str(path))
        assert uri is None and "outside what this service may show" in why


@pytest.mark.parametrize(
    "image, fits",
    [
        ("film.png", True),
        ("../outside/film.png", False),
        ("folder/film.png", False),
        ("{outside}/film.png", False),
        ("{shared}/film.png", True),
    ],
)
def test_tasks_that_ask_about_a_film_outside_are_refused(places, image, fits):
    shared, outside = places
    names = [["film.png"], [], [image.format(shared=shared, outside=outside)]]
    pq.write_table(pa.table({"images": pa.array(names, pa.list_(pa.string()))}), shared / "tasks.parquet")
    recipe = parse_recipe(RECIPE | {"data": {"tasks": str(shared)}}, "recipe")
    if fits:
        check_recipe(recipe, [str(shared)])
    else:
        with pytest.raises(UserError, match="data.tasks: a task's image, .* is outside"):
            check_recipe(recipe, [str(shared)])


def test_a_run_that_is_a_link_out_of_the_root_is_none(client, tmp_path):
    for place in ("outside", "shared", "runs"):
        (tmp_path / place / "run").mkdir(parents=True)
        (tmp_path / place / "run" / "recipe.yaml").write_text("name: run\n")
    for name in ("outside", "shared"):
        (tmp_path / "runs" / name).symlink_to(tmp_path / name / "run")
    assert {told["run"] for told in client.get("/v1/runs").json()} == {"run", "shared"}
    assert client.get("/v1/runs/outside").status_code == 404 and client.get("/v1/runs/shared").status_code == 200


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


@pytest.mark.parametrize("secret", ["s3://me:hunter2hunter2@bucket/a", "AKIA" + "ABCDEFGHIJKLMNOP"])
def test_a_recipe_with_a_secret_is_refused_and_the_secret_not_repeated(client, tmp_path, secret):
    answer = client.post("/v1/runs", json={"recipe": RECIPE | {"checkpoint": {"storage": secret}}})
    assert answer.status_code == 422 and "in the environment of the cluster's nodes" in answer.json()["detail"]
    assert secret not in answer.text and not (tmp_path / "runs" / ".submitted").exists()


def film(width, height):
    import base64
    import io

    made = io.BytesIO()
    Image.new("1", (width, height)).save(made, "PNG")
    return {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(made.getvalue()).decode()},
    }


def test_images_are_counted_before_they_are_decoded(monkeypatch):
    read = []
    monkeypatch.setattr("cluster.service.chat_policy.read_image", lambda *args: read.append(args))
    chat = [{"role": "user", "content": [film(8, 8)] * IMAGES}, {"role": "user", "content": [film(8, 8)]}]
    with pytest.raises(ChatRefused, match=f"{IMAGES + 1} images; {IMAGES} at most"):
        _with_images(chat)
    assert not read


def test_the_images_of_a_chat_have_so_many_pixels_together():
    half = film(2**13, MAX_PIXELS // 2**14)
    told = _with_images([{"role": "user", "content": [half, {"type": "text", "text": "?"}, half]}])
    assert [part["type"] for part in told[0]["content"]] == ["image_pil", "text", "image_pil"]
    with pytest.raises(ChatRefused, match=r"messages.1.content.0: 1 × 1 pixels; 0 pixels at most"):
        _with_images([{"role": "user", "content": [half, half]}, {"role": "user", "content": [film(1, 1)]}])


@pytest.mark.parametrize(
    "change", [{"stop": ["a"] * 5}, {"stop": ""}, {"n": 17}, {"top_logprobs": 21}, {"max_tokens": 0}]
)
def test_a_chat_asks_for_a_bounded_amount_of_work(client, change):
    body = {"model": "served", "messages": [{"role": "user", "content": "?"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 404  # is well formed
    assert client.post("/v1/chat/completions", json=body | change).status_code == 422


def test_answers_are_for_no_frame_and_no_cache(client):
    for path in ("/", "/page.js", "/v1/runs", "/v1/runs/nosuch"):
        headers = client.get(path).headers
        assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"


OWN_FAULTS = {  # beside those of every route
    "GET /v1/runs": (),
    "POST /v1/runs": (409, 503),
    "GET /v1/runs/{name}": (404,),
    "GET /v1/runs/{name}/metrics": (404,),
    "GET /v1/runs/{name}/events": (404,),
    "GET /v1/runs/{name}/report": (404, 409),
    "GET /v1/runs/{name}/panel": (404,),
    "POST /v1/runs/{name}/scale": (404, 409, 503),
    "POST /v1/runs/{name}/{action}": (404, 409, 503),
    "POST /v1/rewards/score": (),
    "POST /v1/rewards/explain": (),
    "GET /v1/models": (),
    "POST /v1/chat/completions": (400, 404, 503),
}


def operations():
    description = build(Path("runs"), []).openapi()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            yield pytest.param(description, operation, OWN_FAULTS.get(name, ()), id=name)


@pytest.mark.parametrize("description, operation, own_faults", operations())
def test_every_route_tells_what_goes_in_and_out_and_what_is_refused(description, operation, own_faults):
    """Each with an example, which is what the description says."""

    def check(content):
        schema = {**content["schema"], "components": description["components"]}
        whole = schema
        while "$ref" in whole:
            whole = description["components"]["schemas"][whole["$ref"].rpartition("/")[2]]
        named = whole.get("items", whole)
        if "$ref" in named:
            named = description["components"]["schemas"][named["$ref"].rpartition("/")[2]]
        examples = [given["value"] for given in content.get("examples", {}).values()] or named.get("examples", [])
        assert examples
        for example in examples:
            jsonschema.validate([example] if "items" in whole else example, schema)

    if "requestBody" in operation:
        check(operation["requestBody"]["content"]["application/json"])
    answers = operation["responses"]
    (fine,) = [answer for status, answer in answers.items() if status < "300"]
    assert fine["content"]
    for kind, content in fine["content"].items():
        if kind == "application/json":
            check(content)
        else:
            assert content["example"]
    assert answers.keys() >= {"401", "403", "411", "413", "422", *map(str, own_faults)}
    for status, answer in answers.items():
        if status >= "400":
            assert answer["description"] and list(answer["content"]) == ["application/json"]
            check(answer["content"]["application/json"])


def test_the_page_of_routes_tells_each_and_loads_nothing(client):
    page = client.get("/docs").text
    for path, methods in build(Path("runs"), []).openapi()["paths"].items():
        for method in methods:
            assert f"<h2>{method.upper()} {path}</h2>" in page
    assert "<script" not in page and not re.search(r'(src|href)="(https?:)?//', page)
    assert "max_completion_tokens" in page and "raysubmit_" in page
    assert client.get("/redoc").status_code == 404


@pytest.fixture
def jobs(monkeypatch):
    """Ray's list of jobs, as the service sees it: no cluster with a dashboard stands here."""
    known = []

    def submit(command, metadata, **more):
        known.insert(0, Job(**metadata, submitted=time.time(), going=True, why=""))
        return None, "job"

    monkeypatch.setattr("cluster.service.run_jobs._cluster", lambda: "here")
    monkeypatch.setattr("cluster.service.run_jobs.list_jobs", lambda address: list(known))
    monkeypatch.setattr("cluster.service.run_jobs.submit_command", submit)
    monkeypatch.setattr("cluster.service.run_jobs.CACHE_S", -1)
    monkeypatch.setattr("cluster.service.run_jobs.ENDING_S", 1)
    return known


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


def test_a_run_does_not_grow_beyond_the_quota_of_who_started_it(tmp_path, jobs):
    ask = limited(tmp_path, ada={"cpus": 11.5}, bob={"cpus": 0})
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.yaml").write_text(json.dumps(SIZED))
    jobs.append(Job("one", "ada", 0, True, ""))
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
    large = SIZED | {"rollout": {"workers": 2, "gpus": 1}, "learner": {"workers": 4, "gpus": 0.5}}
    assert ask("ada", "", {"recipe": large}) == (409, "the quota of ada: gpus: at most 3 at once; this run takes 4")
    assert ask("ada", "", {"recipe": SIZED})[0] == 201
    refused = 409, "the quota of ada: runs: at most 1 at once; this run takes 1, quickstart holds 1"
    assert ask("ada", "", {"recipe": SIZED}) == refused
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "recipe.yaml").write_text("broken: [")  # how large it is cannot be known; it is a run
    assert ask("ada", "", {"recipe": SIZED}) == refused


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
    assert not list((tmp_path / "runs" / ".submitted").iterdir()) and client.get("/v1/runs").json() == []


def test_the_command_writes_a_line_that_the_service_reads(tmp_path):
    made = CliRunner().invoke(app, ["token", "ada", "--role", "operate", "--gpus", "2", "--runs", "1"])
    (tmp_path / "tokens.yaml").write_text(made.stdout)
    tokens = read_tokens(tmp_path / "tokens.yaml")
    assert made.exit_code == 0 and find_token(tokens, made.stderr.split()[-1]) == tokens[0]
    assert (tokens[0].name, tokens[0].role, tokens[0].quota) == ("ada", "operate", Quota(gpus=2, runs=1))
