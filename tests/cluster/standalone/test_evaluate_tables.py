"""The tables of `curlvpr eval`."""

from cluster.standalone.evaluate_tables import print_tables


def test_tables_show_every_section(reported, capsys):
    print_tables(reported)
    shown = capsys.readouterr().out
    for words in ("closed accuracy", "diagnosis micro f1", "view PA closed accuracy", "tail, below 1%", "Mass 50.0%"):
        assert words in shown
    leaf = reported["models"][1]["difference"]["overall"]["closed_accuracy"]
    assert f"{leaf['value']:+.3f} [{leaf['low']:+.3f}, {leaf['high']:+.3f}]" in shown


def test_what_a_later_model_lacks_is_left_open(reported, capsys):
    leaf = {"value": 0.5, "low": 0.4, "high": 0.6, "tasks": 40, "patients": 40}
    first, second, _ = reported["models"]
    first["samples"] = {"count": 8, "temperature": 0.9}
    first["measures"]["marks"] = {"all": {"✅": leaf}, "Mass": {"✅": leaf}}
    second["measures"]["marks"] = {"all": {"✅": leaf}}
    second["difference"]["marks"] = {"all": {"✅": leaf | {"value": 0.0, "low": -0.1, "high": 0.1}}}
    print_tables(reported)
    shown = capsys.readouterr().out
    assert "8 responses to each task sampled at temperature 0.9" in shown
    (row,) = [line for line in shown.splitlines() if "Mass ✅" in line]
    assert "0.500 [0.400, 0.600]" in row and row.count("–") == 2
    assert "+0.000 [-0.100, +0.100]" in shown
