"""Who may do what: bearer tokens, of which only the hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from cluster.errors import UserError
from curriculum.strict import Strict

Role = Literal["read", "operate"]


class Quota(Strict):
    """What the runs that a token started may hold of the cluster at once; no limit where left out."""

    cpus: float | None = Field(None, ge=0)
    gpus: float | None = Field(None, ge=0)
    runs: int | None = Field(None, ge=0)


class Token(Strict):
    """One line of the tokens' file. `operate` may do what `read` may, and start, change and stop runs."""

    name: str = Field(min_length=1)
    role: Role
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    quota: Quota = Quota()

    def allows(self, role: Role) -> bool:
        return role in ("read", self.role)

    @property
    def limited(self) -> bool:
        return self.quota != Quota()


def new_token(name: str, role: Role, quota: Quota = Quota()) -> tuple[str, Token]:
    """A random token, which nobody can read again, and what the file keeps of it."""
    text = secrets.token_urlsafe(32)
    return text, Token(name=name, role=role, sha256=_digest(text), quota=quota)


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a YAML file: a list of {name, role, sha256}. Raises UserError."""
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Token]).validate_python(rows)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; curlvpr token NAME --role read|operate prints what to write there"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: broken YAML") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise UserError(
            f"{path}: {where}: {fault['msg'].lower()}; it is a list of name, role, sha256 and perhaps quota"
        ) from error


def find_token(tokens: Sequence[Token], text: str) -> Token | None:
    """The token that `text` is; all are compared, so that the time tells nothing."""
    digest, found = _digest(text), None
    for token in tokens:
        if hmac.compare_digest(token.sha256, digest):
            found = token
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
