"""Requests to the service's application, in this process; a run that is admitted is not started."""

from __future__ import annotations

import base64
import json
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi.testclient import TestClient
from hypothesis import strategies as st

from cluster.service.app import build
from cluster.service.chat_policy import ChatRefused, _with_images
from cluster.service.routes.chat_schema import EXAMPLE as CHAT
from cluster.service.routes.chat_schema import ChatRequest
from cluster.service.routes.runs_schema import EXAMPLE
from cluster.service.run_jobs import Conflict
from cluster.service.tokens import new_token
from tests.fuzz.corpus import JSON_PIECES, Corpus, recipes, responses
from tests.fuzz.door import Ill, TooLong, time_limit
from tests.fuzz.mutate import JSON_VALUES, odd_bytes, odd_tree


@dataclass(frozen=True)
class Call:
    """A request with a token that may do everything."""

    method: str
    path: str
    body: bytes
    content_type: str = "application/json"


class NothingStarts:
    """In place of `RunJobs`: refuses every run that was admitted."""

    def start(self, *_: object) -> None:
        raise Conflict("nothing is started here")

    def without_folder(self) -> list[str]:
        return []

    def status(self, run: str) -> dict[str, str]:
        return {}


@cache
def _client() -> TestClient:
    root = Path(tempfile.mkdtemp(prefix="fuzz-runs-"))
    text, token = new_token("ada", "operate")
    app = build(root, [token], [str(root)])
    app.state.run_jobs = NothingStarts()
    return TestClient(app, headers={"Authorization": f"Bearer {text}"})  # an error of the server is raised


def calls(corpus: Corpus) -> st.SearchStrategy[Call]:
    """Bodies of every route that takes one, and odd names and queries in paths."""
    scores = [{"responses": responses()[:3]}, {"preset": "paper", "responses": responses()[3:4]}]
    runs = [{"recipe": tree} for tree in (EXAMPLE, *recipes())]
    bodies = {
        "/v1/rewards/score": scores,
        "/v1/rewards/explain": responses()[:4],
        "/v1/runs": runs,
        "/v1/runs/x/scale": [{"rollout": 2}],
    }
    found = []
    for path, trees in bodies.items():
        written = [json.dumps(tree).encode() for tree in trees]
        odd = odd_tree(trees, JSON_VALUES).map(lambda tree: json.dumps(tree).encode()) | odd_bytes(written, JSON_PIECES)
        kinds = st.sampled_from(["application/json"] * 6 + ["text/plain", "application/x-www-form-urlencoded", "x", ""])
        found.append(st.builds(Call, st.just("POST"), st.just(path), odd, kinds))
    names = st.sampled_from(
        ["", ".", "..", "%2e%2e", "%00", "a%0ab", "%ff", "a/b", "a" * 300, "%5c", "%1b[31m", "~", "panel"]
    )
    tails = st.sampled_from(
        ["", "/metrics?after=x", "/metrics?after=-2", "/metrics?after=9e9", "/events", "/report", "/panel", "/x"]
    )
    found.append(st.builds(lambda name, tail: Call("GET", f"/v1/runs/{name}{tail}", b""), names, tails))
    return st.one_of(found)


def receive_call(call: Call) -> int:
    """Makes a request. Returns the status. Raises Ill if it is an error of the server, or no refusal in words."""
    headers = {"Content-Type": call.content_type} if call.body else {}
    try:
        with time_limit():
            answer = _client().request(call.method, call.path, content=call.body, headers=headers)
    except (Exception, TooLong) as error:
        raise Ill(f"an exception went through: {type(error).__name__}: {error}") from error
    if answer.status_code >= 500:
        raise Ill(f"an error of the server: {answer.status_code} {answer.text[:500]}")
    if answer.status_code >= 400 and not answer.json().get("detail"):
        raise Ill(f"refused without a word: {answer.status_code} {answer.text[:500]}")
    if answer.status_code >= 400 and len(answer.content) > 20_000:
        raise Ill(f"a refusal of {len(answer.content)} bytes")
    return answer.status_code


def chats(corpus: Corpus) -> st.SearchStrategy[bytes]:
    """Chats with odd fields and with images that are damaged."""
    trees = odd_tree([CHAT], JSON_VALUES)
    uris = [f"data:image/png;base64,{base64.b64encode(film).decode()}".encode() for film in corpus.films[:6]]
    images = odd_bytes(uris).map(lambda uri: _chat_about(uri.decode("latin-1")))
    films = odd_bytes(corpus.films).map(
        lambda film: _chat_about(f"data:image/png;base64,{base64.b64encode(film).decode()}")
    )
    return (trees | images | films).map(lambda tree: json.dumps(tree).encode())


def _chat_about(uri: str) -> dict:
    text = {"type": "text", "text": "Is there edema?"}
    return CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}, text]}]}


def receive_chat(body: bytes) -> int:
    """Validates a chat as the route does, and reads its images as a replica does. Returns the status. Raises Ill."""
    call = Call("POST", "/v1/chat/completions", body)
    status = receive_call(call)
    if status != 404:  # 404: there is no such model, so all else was right
        return status
    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's go to the log of the service
            _with_images(ChatRequest.model_validate(json.loads(body)).model_dump(exclude_none=True)["messages"])
    except ChatRefused as refused:
        return refused.status
    except (Exception, TooLong) as error:
        raise Ill(f"an exception went through: {type(error).__name__}: {error}") from error
    return 200
