"""`curlvpr token` and `serve`."""

from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.service.tokens import Quota, find_token, read_tokens


def test_the_command_writes_a_line_that_the_service_reads(tmp_path):
    made = CliRunner().invoke(app, ["token", "ada", "--role", "operate", "--gpus", "2", "--runs", "1"])
    (tmp_path / "tokens.yaml").write_text(made.stdout)
    tokens = read_tokens(tmp_path / "tokens.yaml")
    assert made.exit_code == 0 and find_token(tokens, made.stderr.split()[-1]) == tokens[0]
    assert (tokens[0].name, tokens[0].role, tokens[0].quota) == ("ada", "operate", Quota(gpus=2, runs=1))


def test_a_service_without_tokens_is_not_started(refused):
    assert "curlvpr token NAME" in refused("serve", "--tokens", "absent.yaml")
