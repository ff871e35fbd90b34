"""The command line as a whole."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app


def test_help_needs_nothing_heavy():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from cluster.cli.app import app\n"
        "assert 'train' in CliRunner().invoke(app, ['--help']).output\n"
        "print(sorted({'torch', 'ray', 'transformers', 'pyarrow', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_command_is_refused():
    refused = CliRunner().invoke(app, ["trian"])
    assert refused.exit_code == 2 and "No such command" in refused.stderr


def test_what_a_user_can_mend_is_one_line_and_exit_code_2(refused):
    assert refused("report", "nowhere").startswith("curlvpr: nowhere: no run folder")


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "No pleural effusion."}\n' * 5000)
    return file


def test_a_reader_that_has_enough_is_no_fault(texts):
    command = f"{sys.executable} -m cluster.cli reward extract {texts} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout == '{"present": [], "absent": ["Effusion"], "uncertain": []}\n' and done.stderr == ""


def test_an_output_without_room_is_told_in_one_line(texts):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "cluster.cli", "reward", "extract", str(texts)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "curlvpr: no space left where the output goes\n")
