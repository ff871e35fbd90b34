"""The writer that a command names."""

import pytest
import yaml

from cluster.errors import UserError
from cluster.standalone.traces.writers import WriterChoice, open_writer


def opened(**options):
    with open_writer(WriterChoice(**{"name": "report", "seed": 0, "attempts": 3} | options), [], print) as writer:
        return writer


def test_a_teachers_settings_come_from_its_file(tmp_path):
    (tmp_path / "own.j2").write_text("{{ report }}")
    settings = {"model": "m", "base_url": "http://localhost:1/v1", "prompt": "own.j2"}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(settings))
    teacher = opened(name="teacher", teacher=tmp_path / "t.yaml")
    assert teacher.settings["model"] == "m" and opened().name == "report"
    (tmp_path / "own.j2").write_text("{{ report }}!")
    assert opened(name="teacher", teacher=tmp_path / "t.yaml").settings["prompt"] != teacher.settings["prompt"]


@pytest.mark.parametrize(
    "settings, reason",
    [
        ("[", "not readable as YAML"),
        ("hello", "settings are needed"),
        ({"model": "m"}, "give either base_url, an endpoint, or engines"),
        ({"model": "m", "base_url": "here"}, "base_url: it must be http"),
        ({"model": "m", "base_url": "http://h/v1", "concurency": 3}, "concurency"),
        ({"model": "m", "base_url": "http://h/v1", "api_key_env": "NO_SUCH_KEY_HERE"}, "NO_SUCH_KEY_HERE is not set"),
        ({"model": "m", "base_url": "http://h/v1", "prompt": "gone.j2"}, "prompt: .*gone.j2"),
        ({"model": "no/folder", "engines": {}}, "no/folder is no model folder"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, settings, reason):
    path = tmp_path / "t.yaml"
    path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))
    with pytest.raises(UserError, match=reason):
        opened(name="teacher", teacher=path)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"name": "teacher"}, "--writer teacher needs --teacher"),
        ({"name": "policy"}, "--writer policy needs --model"),
        ({"teacher": "t.yaml"}, "--writer report does not take --teacher"),
    ],
)
def test_options_that_do_not_fit_the_writer(options, reason):
    with pytest.raises(UserError, match=reason):
        opened(**options)
