"""Facts about this machine."""

from dataclasses import replace

from cluster.planning.machine import disk, probe


def test_packages_that_fail_crash_and_hang_are_told_apart(tmp_path, monkeypatch):
    (tmp_path / "aa_well.py").write_text("print('chatter')")
    (tmp_path / "bb_raises.py").write_text("raise ImportError('libfoo.so:\\n  cannot open')")
    (tmp_path / "cc_crashes.py").write_text("import os; os.kill(os.getpid(), 11)")
    (tmp_path / "dd_exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "ee_hangs.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = probe(["bb_raises", "aa_well", "cc_crashes", "dd_exits", "no_such_package", "ee_hangs"], 10)
    assert answers["aa_well"] == {}
    assert answers["bb_raises"] == {"error": "ImportError: libfoo.so: cannot open"}
    assert answers["cc_crashes"] == {"error": "it ended the process with signal 11"}
    assert answers["dd_exits"] == {"error": "SystemExit: 3"}
    assert answers["no_such_package"] == {"error": "ModuleNotFoundError: No module named 'no_such_package'"}
    assert answers["ee_hangs"] == {"error": "not finished within 10 s", "timed_out": True}


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "ConnectionRefusedError" in probe(["cluster"], 100)["cluster"]["error"]


def test_the_disk_of_a_folder_that_is_yet_to_be_made(tmp_path):
    assert replace(disk(tmp_path / "a" / "b"), path=tmp_path, free=0) == replace(disk(tmp_path), free=0)
