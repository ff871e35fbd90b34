"""The command line as a whole."""

import subprocess
import sys

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
