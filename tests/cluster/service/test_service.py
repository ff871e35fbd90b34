"""The service over HTTP, on the real Ray Serve."""

import asyncio
import base64
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest
import schemathesis
import torch
import yaml
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file, save_file

from actors.runtime.storage import POLICY, Storage
from cluster.config.recipe_file import parse_recipe
from cluster.errors import UserError
from cluster.record.checkpoint import Checkpoints
from cluster.record.run_reader import RunRecord
from cluster.service.allowlist import check_recipe
from cluster.service.app import MAX_REQUEST_BYTES, build
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from cluster.service.tokens import find_token, new_token, read_tokens
from rewards.config import RewardConfig
from rewards.score import score

CLOSED = {
    "domain": "closed",
    "options": {"A": "Effusion", "B": "Mass"},
    "gold": ["A"],
    "response": "<think>The angle is blunt.</think><answer>A) ✅</answer><think>No mass.</think><answer>B) ❌</answer>"
    "<think>So A.</think><answer>A</answer>",
}


class Caller:
    def __init__(self, url):
        self.url, self.tokens = url, {}

    def __call__(self, method, path, body=None, role="operate", token=None, headers=None):
        """(status, parsed answer)"""
        given = token if token is not None else self.tokens.get(role)
        headers = (
            (headers or {})
            | {"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {given}"} if given else {})
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(
                    text
                ) if answer.headers.get_content_type() == "application/json" else text
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def service(run, tmp_path_factory):
    """The service, for the folder in which the finished run is; its policy follows a copy of that run."""
    import socket

    from ray import serve

    from cluster.service.serving import ServiceArguments, application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caller, kept = Caller(f"http://127.0.0.1:{port}"), []
    for role in ("read", "operate"):
        caller.tokens[role], token = new_token(f"{role}er", role)
        kept.append(token.model_dump())
    tokens = tmp_path_factory.mktemp("service") / "tokens.yaml"
    tokens.write_text(yaml.safe_dump(kept))
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    shutil.copytree(run, run.parent / "served")
    serve.run(application(ServiceArguments(root=run.parent, tokens=tokens, policy="served")), name="curlvpr")
    yield caller
    serve.shutdown()


def test_verdicts_are_those_of_the_rules(service):
    status, answer = service(
        "POST", "/v1/rewards/score", {"responses": [CLOSED, CLOSED | {"response": "A"}]}, role="read"
    )
    assert status == 200
    from cluster.standalone.reward_file import read_row

    for told, response in zip(answer["verdicts"], (CLOSED["response"], "A"), strict=True):
        row = read_row("here", CLOSED | {"response": response}, RewardConfig())
        right = score(row.task, response, RewardConfig())
        assert told["total"] == pytest.approx(right.total) and told["why"] == list(right.why)
        assert [(s["start"], s["end"], s["judgement"]) for s in told["steps"]] == [
            (s.start, s.end, s.judgement) for s in right.steps
        ]
    status, answer = service("POST", "/v1/rewards/explain", CLOSED)
    assert status == 200 and sum(p["points"] for p in answer["points"]) == pytest.approx(answer["verdict"]["total"])


@pytest.mark.parametrize(
    "body, words",
    [
        ({"responses": [CLOSED | {"gold": ["Z"]}]}, "responses.0: gold 'Z' is none of the options"),
        ({"responses": [CLOSED, CLOSED | {"options": None}]}, 'responses.1: a closed row needs "options"'),
        ({"responses": []}, "at least 1 item"),
        ({"responses": [CLOSED], "presett": "paper"}, "Extra inputs"),
        ({"responses": [CLOSED | {"domain": "both"}]}, "'closed' or 'open'"),
    ],
)
def test_what_cannot_be_scored_is_told(service, body, words):
    status, answer = service("POST", "/v1/rewards/score", body)
    assert status == 422 and words in str(answer)


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
    for name in ("nosuch", "..", "%2e%2e", "..%2f..%2fetc", ".submitted", "a" * 200):
        assert service("GET", f"/v1/runs/{name}")[0] == 404
    assert service("POST", f"/v1/runs/{run.name}/scale", {})[0] == 422
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


def test_allowed_places_are_below_and_not_beside():
    def fits(place, *allowed):
        try:
            check_recipe(parse_recipe(RECIPE | {"checkpoint": {"storage": place}}, "recipe"), allowed)
        except UserError:
            return False
        return True

    assert fits("/shared/runs/a", "/shared/runs") and fits("s3://bucket/a/b", "s3://bucket/a")
    assert not fits("/shared/runs-of-others/a", "/shared/runs") and not fits("/shared/runs/../x", "/shared/runs")
    assert not fits("s3://bucket/ab", "s3://bucket/a") and not fits("s3://bucket/a/../b", "s3://bucket/a")


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


@pytest.fixture
def openai_client(service):
    return openai.AsyncOpenAI(base_url=service.url + "/v1", api_key=service.tokens["read"], max_retries=0, timeout=120)


def data_uri(path):
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def chat_of(task):
    """A test task as a chat."""
    options = "".join(f"\n{letter}) {text}" for letter, text in task.options.items())
    return [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": data_uri(task.images[0])}},
                {"type": "text", "text": task.question + options},
            ],
        }
    ]


def test_a_chat_is_answered_as_the_run_answered_the_same_task(service, run, openai_client):
    """Compares without the bytes that form no character: an untrained model writes many, and each side shows them in
    its own way."""
    record, served = RunRecord(run), run.parent / "served"
    version = max(test.version for test in record.tests)
    answers = dict(list(record.answers(version).items())[:4])
    tasks = record.tasks(answers)

    def plain(text):
        return text.replace("\ufffd", "")

    async def ask():
        whole = await asyncio.gather(
            *(
                openai_client.chat.completions.create(model="served", messages=chat_of(tasks[id]), temperature=0)
                for id in answers
            )
        )
        stream = await openai_client.chat.completions.create(
            model="served",
            messages=chat_of(tasks[next(iter(answers))]),
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        return (await openai_client.models.list()).data, whole, [piece async for piece in stream]

    models, whole, pieces = asyncio.run(ask())
    assert [model.id for model in models] == ["served"]
    assert {answer.system_fingerprint for answer in whole} == {
        f"served/{sorted(os.listdir(served / 'checkpoints'))[-1]}"
    }
    texts = [answer["response"] for answer in answers.values()]
    assert [plain(answer.choices[0].message.content) for answer in whole] == [plain(text) for text in texts]
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert plain(text) == plain(texts[0]) and len(pieces) > 5
    assert pieces[-1].usage.completion_tokens == whole[0].usage.completion_tokens


def test_new_weights_are_taken_up_while_two_hundred_chat(service, run, openai_client):
    """The new commit's weights are noise; every chat is answered, some begun before it, and later ones by it."""
    served = run.parent / "served"
    checkpoints = Checkpoints(Storage(str(served / "checkpoints")), 2)
    newest = checkpoints.committed()[-1]
    state = Checkpoints.load_policy(newest)
    weights = {
        name: value + 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        for name, value in load_file(served / "checkpoints" / newest.name / POLICY).items()
    }
    record = RunRecord(run)
    task = next(iter(record.tasks(record.answers(0)).values()))

    async def chat(number):
        return await openai_client.chat.completions.create(
            model="served", messages=chat_of(task), seed=number, max_tokens=32
        )

    async def ask():
        chats = [asyncio.create_task(chat(number)) for number in range(200)]
        await asyncio.wait(chats, return_when=asyncio.FIRST_COMPLETED)
        folder = checkpoints.begin(state["step"] + 1)
        with folder.workspace() as made:
            save_file(weights, made / POLICY)
            digests = folder.take_in(made)
        checkpoints.commit(folder, digests, state | {"version": state["version"] + 1})
        while (last := await chat(200)).system_fingerprint != f"served/{folder.name}":
            chats.append(asyncio.create_task(chat(len(chats))))
            await asyncio.sleep(0.1)
        return await asyncio.gather(*chats), last

    answers, last = asyncio.run(ask())
    assert len(answers) >= 200 and all(answer.choices[0].finish_reason for answer in answers)
    assert {answer.system_fingerprint for answer in answers} >= {f"served/{newest.name}"}
    assert last.system_fingerprint != f"served/{newest.name}"


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({"model": "other"}, 404, "this service has 'served'"),
        ({"tools": []}, 422, "Extra inputs"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}],
                    }
                ]
            },
            422,
            "messages.0.content.0: an image must be data:",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
                    }
                ]
            },
            422,
            "messages.0.content.0: not an image",
        ),
        ({"messages": [{"role": "user", "content": "why " * 2000}]}, 400, "maximum context length"),
    ],
)
def test_a_chat_that_cannot_be_answered_is_told(service, change, status, words):
    body = {"model": "served", "messages": [{"role": "user", "content": "Is there a mass?"}]} | change
    told, answer = service("POST", "/v1/chat/completions", body, role="read")
    assert told == status and words in str(answer["detail"]) and words in answer["error"]["message"]


def test_a_client_of_openais_says_what_is_wrong(service, openai_client):
    async def ask():
        await openai_client.chat.completions.create(model="other", messages=[{"role": "user", "content": "?"}])

    with pytest.raises(openai.NotFoundError, match="no model 'other'; this service has 'served'"):
        asyncio.run(ask())


def routes():
    for path, methods in build(Path("runs"), []).openapi()["paths"].items():
        for method, operation in methods.items():
            yield pytest.param(
                method.upper(),
                path.replace("{name}", "first").replace("{action}", "pause"),
                operation,
                id=f"{method.upper()} {path}",
            )


@pytest.mark.parametrize("method, path, operation", routes())
def test_every_route_wants_a_token_of_the_right_role(service, method, path, operation):
    body = {} if "requestBody" in operation else None
    assert service(method, path, body, role=None)[0] == 401
    assert service(method, path, body, token="wrong")[0] == 401
    status, answer = service(method, path, body, role="read")
    if method == "GET" or "/rewards/" in path or "/chat/" in path:
        assert status not in (401, 403)
    else:
        assert status == 403 and "needs the role operate" in answer["detail"]
    assert {"401", "403"} <= operation["responses"].keys() and operation["summary"] and operation["description"]


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1200,1600",
    ):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.implicitly_wait(30)
    yield browser
    browser.quit()


def test_the_page_shows_a_run_and_asks_of_it(service, run, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def said():
        return browser.find_element(By.ID, "said").text

    def log_in(token):
        browser.find_element(By.ID, "token").send_keys(token)
        browser.find_element(By.CSS_SELECTOR, "#login button").click()

    wait = WebDriverWait(browser, 60)
    browser.get(service.url)
    log_in("wrong")
    wait.until(lambda _: said().startswith("this token is not known here"))
    log_in(service.tokens["operate"])
    browser.find_element(By.XPATH, f"//ul[@id='runs']//button[.='{run.name}: finished']").click()
    wait.until(lambda _: "finished" in browser.find_element(By.CSS_SELECTOR, "#panel .tiles").text)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#panel figure.chart svg")) >= 6
    stages = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#panel ol[aria-label=Curriculum] li")]
    assert stages == ["sft 12 steps, by maximum", "closed 2 steps, by maximum", "open 2 steps, by maximum"]
    newest = browser.find_elements(By.CSS_SELECTOR, "#panel article.example")
    rows = [json.loads(line) for line in (run / "trajectories.jsonl").read_text().splitlines()]
    assert [article.find_element(By.TAG_NAME, "code").text for article in newest] == [
        row["task"] for row in rows[:-5:-1]
    ]
    assert all(
        image.get_property("naturalWidth") > 0
        for article in newest
        for image in article.find_elements(By.TAG_NAME, "img")
    )
    assert not browser.find_element(By.ID, "login").is_displayed() and not said()
    buttons = browser.find_elements(By.CSS_SELECTOR, "#controls button")
    assert [button.text for button in buttons if button.is_enabled()] == [
        "Report"
    ]  # a finished run can be asked for nothing else
    buttons[-1].click()
    wait.until(lambda _: len(browser.window_handles) == 2)
    browser.switch_to.window(browser.window_handles[1])
    wait.until(lambda _: browser.title == f"{run.name} – run report")
    browser.switch_to.window(browser.window_handles[0])
    browser.find_element(By.ID, "away").click()
    assert browser.find_element(By.ID, "login").is_displayed() and not browser.find_elements(
        By.CSS_SELECTOR, "#runs li"
    )
    assert not [
        entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "40" not in entry["message"]
    ]


def test_a_request_that_is_too_large_is_refused_unread(service):
    request = urllib.request.Request(
        service.url + "/v1/rewards/score",
        data=b"",
        method="POST",
        headers={"Authorization": f"Bearer {service.tokens['read']}", "Content-Length": str(MAX_REQUEST_BYTES + 1)},
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request, timeout=30)


def test_the_file_of_tokens_holds_no_token(tmp_path):
    text, kept = new_token("ada", "operate")
    path = tmp_path / "tokens.yaml"
    path.write_text(yaml.safe_dump([kept.model_dump()]))
    assert text not in path.read_text()
    assert find_token(read_tokens(path), text).name == "ada" and find_token(read_tokens(path), text + "x") is None
    for wrong, words in (
        ("- {name: a, role: admin, sha256: x}", "0.role"),
        ("nothing", "list"),
        ("a: [", "broken YAML"),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=words):
            read_tokens(path)
    with pytest.raises(UserError, match="curlvpr token NAME"):
        read_tokens(tmp_path / "absent.yaml")


@pytest.mark.parametrize("method, path, operation", routes())
def test_no_request_makes_a_server_error(service, run, method, path, operation):
    """What schemathesis makes of the service's own description. (That a run really starts is seen elsewhere.)"""
    if (method, path) == ("POST", "/v1/runs"):
        pytest.skip("a recipe that is right would start a run")
    api = schemathesis.openapi.from_url(f"{service.url}/openapi.json", wait_for_schema=10)
    [described] = [
        found.ok()
        for found in api.get_all_operations()
        if (found.ok().method.upper(), found.ok().path.replace("{name}", "first").replace("{action}", "pause"))
        == (method, path)
    ]

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(case=described.as_strategy())
    def call(case):
        answer = case.call(headers={"Authorization": f"Bearer {service.tokens['operate']}"}, timeout=60)
        assert answer.status_code < 500, answer.text

    call()
