"""Pages from templates, and films small enough to embed in them. A page is one file that loads nothing else."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from actors.runtime.files import replacing
from curriculum.images import load_image


def render(template: str, **values: Any) -> str:
    """The text of `templates/template`. In HTML, values are escaped unless they are `markupsafe.Markup`.

    Raises:
        jinja2.UndefinedError: the template names a value that is not in `values`.
    """
    return _environment().get_template(template).render(**values)


def write_page(path: Path, text: str) -> None:
    """Writes a page at once: a reader sees the old one or the whole new one."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # a model may write half of a surrogate pair


def thumbnail(path: str | Path, size: int = 256) -> str:
    """An image as a data URI (JPEG), at most `size` pixels wide and high; a smaller one is not enlarged.

    Raises:
        curriculum.images.ImageError: it cannot be read.
    """
    image = load_image(path)
    image.thumbnail((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cluster.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=select_autoescape(("html.j2",)),
    )
