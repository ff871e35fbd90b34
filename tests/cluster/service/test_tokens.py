"""The tokens file: what it holds, and what the service reads from it."""

import pytest
import yaml

from cluster.errors import UserError
from cluster.service.tokens import find_token, new_token, read_tokens


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
