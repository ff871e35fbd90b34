"""Bearer tokens and their roles; only the hashes are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from cluster.config.yaml_text import YamlFault, read_yaml
from cluster.errors import UserError
from curriculum.strict import Strict

Role = Literal["read", "operate"]


class Quota(Strict):
    """The maximum that the runs of a token may hold of the cluster at once; None for no limit."""

    cpus: float | None = Field(None, ge=0)
    gpus: float | None = Field(None, ge=0)
    runs: int | None = Field(None, ge=0)


NO_QUOTA = Quota()


class Token(Strict):
    """One entry of the tokens file. The role `operate` includes `read`, and may start, change and stop runs."""

    name: str = Field(min_length=1)
    role: Role
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    quota: Quota = NO_QUOTA

    def allows(self, role: Role) -> bool:
        return role in ("read", self.role)

    @property
    def limited(self) -> bool:
        return self.quota != NO_QUOTA


def new_token(name: str, role: Role, quota: Quota = NO_QUOTA) -> tuple[str, Token]:
    """A random token, which is stored nowhere, and its entry for the file."""
    text = secrets.token_urlsafe(32)
    return text, Token(name=name, role=role, sha256=_digest(text), quota=quota)


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a YAML file: a list of {name, role, sha256}, some with a quota. Raises UserError."""
    try:
        rows = read_yaml(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Token]).validate_python(rows)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; curlvpr token NAME --role read|operate prints a line for it"
        ) from error
    except (YamlFault, UnicodeDecodeError) as error:
        raise UserError(f"{path}: broken YAML, {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise UserError(
            f"{path}: {where}: {fault['msg'].lower()}; it is a list of name, role, sha256 and perhaps quota"
        ) from error


def find_token(tokens: Sequence[Token], text: str) -> Token | None:
    """The entry of the token `text`. All entries are compared, so that the time reveals nothing."""
    digest = _digest(text)
    match = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, digest):
            match = token
    return match


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
