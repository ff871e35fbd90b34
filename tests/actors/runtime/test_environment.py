"""The environment of a run's processes."""

import logging
import os
import warnings

from actors.runtime.environment import ENVIRONMENT, quiet_libraries


def test_variables_are_set_unless_the_user_has_set_them(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    with warnings.catch_warnings():
        quiet_libraries()
    assert {name: os.environ[name] for name in ENVIRONMENT} == {**ENVIRONMENT, "VLLM_LOGGING_LEVEL": "DEBUG"}


def test_libraries_log_errors_alone(caplog):
    with warnings.catch_warnings():
        quiet_libraries()
    for name in ("DeepSpeed", "vllm", "transformers"):
        logger = logging.getLogger(name)
        monitor = logging.Handler()
        seen = []
        monitor.emit = seen.append
        logger.addHandler(monitor)
        try:
            logger.warning("nobody needs this")
            logger.error("everybody needs this")
        finally:
            logger.removeHandler(monitor)
        assert [record.getMessage() for record in seen] == ["everybody needs this"]
