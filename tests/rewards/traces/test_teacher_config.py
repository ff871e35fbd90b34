"""The settings of a teacher."""

import pytest

from rewards.traces.teacher_config import TeacherConfig


def test_a_teacher_is_in_one_place():
    assert TeacherConfig(model="m", base_url="http://host/v1").engines is None
    assert TeacherConfig.model_validate({"model": "m", "engines": {"count": 2}}).engines.gpus == 1
    for places in ({}, {"base_url": "http://host/v1", "engines": {}}):
        with pytest.raises(ValueError, match="give either base_url, an endpoint, or engines"):
            TeacherConfig.model_validate({"model": "m"} | places)


def test_the_key_is_looked_for_before_anything_is_asked(monkeypatch):
    settings = {"model": "m", "base_url": "http://host/v1", "api_key_env": "SOME_KEY"}
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ValueError, match="SOME_KEY is not set here"):
        TeacherConfig.model_validate(settings)
    monkeypatch.setenv("SOME_KEY", "open sesame")
    assert "sesame" not in repr(TeacherConfig.model_validate(settings))
