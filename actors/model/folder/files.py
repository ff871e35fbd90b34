"""Single files of a model folder: whether one is there and whole, and the JSON that it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

LFS_POINTER = b"version https://git-lfs"
WEB_PAGE = (b"<!doctype html", b"<html")
# What programs that download call a file, or a folder of files, that they have not finished.
UNFINISHED = (
    "*.incomplete",
    "*.part",
    "*.aria2",
    "*.crdownload",
    "*.partial",
    ".cache/huggingface/download/**/*.incomplete",
    "._____temp/*",
)


class ModelFolderError(ValueError):
    """A model folder cannot be trained. One line: what is wrong, in which file, and what to do."""


def check_folder(folder: Path) -> None:
    """Raises ModelFolderError if there is no such folder."""
    if not folder.is_dir():
        raise ModelFolderError(f"{folder}: no such folder; give a Hugging Face folder with its files")


def is_named(path: Path) -> bool:
    """Whether the folder lists the file, also if it is a link that leads nowhere."""
    return path.is_file() or path.is_symlink()


def check_whole(path: Path) -> None:
    """Raises ModelFolderError if a listed file is a stand-in for its content: a pointer, a web page, nothing."""
    if path.is_symlink() and not path.exists():
        raise ModelFolderError(
            f"{path} is a link to a file that is gone; copy the folder with its files, not its links"
        )
    if path.with_name(f"{path.name}.aria2").is_file():
        raise ModelFolderError(f"{path} is an unfinished download ({path.name}.aria2 lies beside it); finish it")
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    if not head:
        raise ModelFolderError(f"{path} is empty; download it again")
    if head.startswith(LFS_POINTER):
        raise ModelFolderError(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` where it was cloned"
        )
    if head.lstrip().lower().startswith(WEB_PAGE):
        raise ModelFolderError(f"{path} is a web page, not the file itself; download it again")


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that a JSON file holds. Raises ModelFolderError."""
    check_whole(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} holds no mapping; copy it again")
    return content


def mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    """A mapping inside another; empty if there is none of that name."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def unfinished(folder: Path) -> str:
    """A remark on a download that was not finished; "" if the folder shows none."""
    found = chain.from_iterable(folder.glob(pattern) for pattern in UNFINISHED)
    first = next((path for path in found if path.is_file()), None)
    return f" ({first.name} shows that a download was not finished)" if first else ""


def listed(names: Iterable[str], limit: int = 2) -> str:
    """Names in a line, the first few by name."""
    names = iter(names)
    first = list(islice(names, limit))
    more = sum(1 for _ in names)
    return ", ".join(first) + (f" and {more} more" if more else "")
