"""The environment of a run's processes."""

import logging
import os
import subprocess
import sys
import tempfile
import warnings

import pytest

from actors.runtime.environment import ENVIRONMENT, quiet_libraries


def test_variables_are_set_unless_the_user_has_set_them(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    with warnings.catch_warnings():
        quiet_libraries()
    assert {name: os.environ[name] for name in ENVIRONMENT} == {**ENVIRONMENT, "VLLM_LOGGING_LEVEL": "DEBUG"}


def test_sockets_go_to_a_short_folder_if_the_temporary_one_has_a_long_path(monkeypatch):
    for name in ("RAY_TMPDIR", "VLLM_RPC_BASE_PATH"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/short")
    quiet_libraries()
    assert "RAY_TMPDIR" not in os.environ
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + 100 * "x")
    quiet_libraries()
    assert os.environ["RAY_TMPDIR"] == os.environ["VLLM_RPC_BASE_PATH"] == "/tmp"


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


def test_a_user_without_an_entry_has_a_name_and_a_home(tmp_path):
    """In a user namespace, as in a container that runs under a number that it has not heard of."""
    ask = "from actors.runtime.environment import name_user; name_user(); import getpass, os; print(getpass.getuser())"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    done = subprocess.run(
        ["unshare", "-U", "--map-user=54321", sys.executable, "-c", f"{ask}; print(os.path.expanduser('~'))"],
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces on this machine")
    assert done.stdout.split() == ["user-54321", str(tmp_path / "home-54321")], done.stderr
    assert (tmp_path / "home-54321").stat().st_mode & 0o777 == 0o700
