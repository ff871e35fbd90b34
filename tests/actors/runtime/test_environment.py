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


def test_a_temporary_folder_with_a_long_path_gets_a_short_one(tmp_path, monkeypatch):
    long, short = tmp_path / (100 * "x"), tmp_path / "s"
    long.mkdir()
    short.mkdir()
    monkeypatch.setattr("actors.runtime.environment.SHORT_FOLDER", str(short))
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    quiet_libraries()
    assert os.environ["TMPDIR"] == tempfile.gettempdir() and os.path.dirname(os.environ["TMPDIR"]) == str(short)
    assert os.path.samefile(os.environ["TMPDIR"], long)
    (link,) = short.iterdir()
    link.unlink()
    link.symlink_to(tmp_path)  # as if somebody else had it
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    quiet_libraries()
    assert os.environ["TMPDIR"] == str(short)


def test_a_temporary_folder_with_a_short_path_stays(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp/short")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/short")
    quiet_libraries()
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == "/tmp/short"


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


@pytest.mark.parametrize(
    "users, settings",
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
    ],
)
def test_torchs_memory_grows_in_place_unless_the_user_has_set_how_it_grows(users, settings):
    """By what torch's allocator goes by, in a process that has imported torch before."""
    program = (
        "import torch; torch._C._accelerator_getAllocatorSettings(); "
        "from actors.runtime.environment import avoid_fragmentation; avoid_fragmentation(); "
        "print(torch._C._accelerator_getAllocatorSettings())"
    )
    environment = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | users, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == settings
