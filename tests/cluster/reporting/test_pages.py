"""Pages from templates, and films as data URIs."""

import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from cluster.reporting.pages import render, thumbnail, write_page


def test_a_page_replaces_the_old_one_and_holds_half_a_surrogate_pair(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    write_page(page, "new \ud83d")
    assert page.read_text(encoding="utf-8") == "new ?" and [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        render("report.html.j2")


@pytest.mark.parametrize("size, shown", [((600, 300), (256, 128)), ((60, 30), (60, 30))])
def test_a_film_is_made_smaller_but_never_larger(tmp_path, size, shown):
    Image.fromarray(np.zeros((size[1], size[0]), np.uint8)).save(tmp_path / "film.png")
    kind, _, data = thumbnail(tmp_path / "film.png").partition(",")
    assert kind == "data:image/jpeg;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == shown
