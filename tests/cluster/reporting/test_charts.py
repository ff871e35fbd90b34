"""Charts are text that a page can hold."""

import re

import pytest

from cluster.reporting.charts import Series, StageAxis, curves


@pytest.mark.parametrize(
    "values, labels", [((2e-5, 3e-5), ["2e-05", "3e-05"]), ((1e-6, 2e-4), ["1e-06", "1e-05", "1e-04"])]
)
def test_a_logarithmic_axis_is_labelled_in_plain_numbers(values, labels):
    points = [("sft", step, value) for step, value in enumerate(values)]
    svg = curves([Series("$x_{ #000099", points, colour=0)], StageAxis({"sft": 2}), "alt", log=True)
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [
        plain for label in shown if "e-" in (plain := label.replace("−", "-"))
    ] == labels and "$x_{ #000099" in shown
