"""The tokens file: what it holds, and what the service reads from it."""

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.errors import UserError
from cluster.service.tokens import Quota, find_token, new_token, read_tokens


def test_the_file_of_tokens_holds_no_token(tmp_path):
    text, kept = new_token("ada", "operate")
    path = tmp_path / "tokens.yaml"
    path.write_text(yaml.safe_dump([kept.model_dump()]))
    assert text not in path.read_text()
    assert find_token(read_tokens(path), text).name == "ada" and find_token(read_tokens(path), text + "x") is None
    for wrong, words in (
        ("- {name: a, role: admin, sha256: x}", "0.role"),
        ("nothing", "list"),
        ("a: [", "broken YAML"),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=words):
            read_tokens(path)
    with pytest.raises(UserError, match="curlvpr token NAME"):
        read_tokens(tmp_path / "absent.yaml")


def test_the_command_writes_a_line_that_the_service_reads(tmp_path):
    made = CliRunner().invoke(app, ["token", "ada", "--role", "operate", "--gpus", "2", "--runs", "1"])
    (tmp_path / "tokens.yaml").write_text(made.stdout)
    tokens = read_tokens(tmp_path / "tokens.yaml")
    assert made.exit_code == 0 and find_token(tokens, made.stderr.split()[-1]) == tokens[0]
    assert (tokens[0].name, tokens[0].role, tokens[0].quota) == ("ada", "operate", Quota(gpus=2, runs=1))
