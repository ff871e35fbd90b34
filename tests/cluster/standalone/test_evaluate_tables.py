"""The tables of `curlvpr eval`."""

from cluster.standalone.evaluate_tables import print_tables


def test_tables_show_every_section(reported, capsys):
    print_tables(reported)
    shown = capsys.readouterr().out
    for words in ("closed accuracy", "diagnosis micro f1", "view PA closed accuracy", "tail, below 1%", "Mass 50.0%"):
        assert words in shown
    leaf = reported["models"][1]["difference"]["overall"]["closed_accuracy"]
    assert f"{leaf['value']:+.3f} [{leaf['low']:+.3f}, {leaf['high']:+.3f}]" in shown
