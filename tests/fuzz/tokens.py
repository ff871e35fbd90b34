"""Tokens files of the service. The reader alone is called: with a right file, `curlvpr serve` would start Ray."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import strategies as st

from cluster.errors import UserError
from cluster.service.tokens import Quota, new_token, read_tokens
from tests.fuzz.corpus import YAML_PIECES, Corpus
from tests.fuzz.door import Ill
from tests.fuzz.mutate import odd_bytes, odd_tree


def token_files(corpus: Corpus) -> st.SearchStrategy[bytes]:
    entries = [
        new_token("ada", "operate", Quota(cpus=4, runs=2))[1].model_dump(),
        new_token("bob", "read")[1].model_dump(),
    ]
    written = yaml.safe_dump(entries).encode()
    trees = odd_tree([entries]).map(lambda tree: repr(tree).encode("utf-8", "surrogatepass"))
    return trees | odd_bytes([written], YAML_PIECES)


def receive_tokens(content: bytes) -> int:
    """Reads a tokens file. Returns the exit code that the command would have. Raises Ill."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokens.yaml")
        path.write_bytes(content)
        try:
            read_tokens(path)
        except UserError as error:
            if "\n" in str(error):
                raise Ill(f"more than one line: {error}") from error
            return 2
        except Exception as error:
            raise Ill(f"an exception went through: {type(error).__name__}: {error}") from error
    return 0
