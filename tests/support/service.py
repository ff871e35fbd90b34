"""A caller of the service over HTTP, and requests to it."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from cluster.service.app import build
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE

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


def own(rule, **options):
    return RECIPE | {"reward": {"rules": {"own": {"mine": {"rule": rule, "weight": 0.1, "options": options}}}}}


def film(width, height):
    import base64
    import io

    made = io.BytesIO()
    Image.new("1", (width, height)).save(made, "PNG")
    return {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(made.getvalue()).decode()},
    }


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


def routes():
    for path, methods in build(Path("runs"), []).openapi()["paths"].items():
        for method, operation in methods.items():
            yield pytest.param(
                method.upper(),
                path.replace("{name}", "first").replace("{action}", "pause"),
                operation,
                id=f"{method.upper()} {path}",
            )
