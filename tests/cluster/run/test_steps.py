"""Steps of a whole run: groups that teach nothing are replaced."""

import pyarrow.parquet as pq

from tests.support.whole_runs import events


def test_groups_without_variance_are_replaced(run):
    """The open stage penalises long responses, so few groups are flat. Those are reported, and others trained."""
    dropped = [e for e in events(run) if e["event"] == "dropped"]
    assert dropped and all(e["reason"] == "no variance" and e["group"].startswith("open-") for e in dropped)
    rows = [
        r for r in pq.read_table(run / "metrics.parquet").to_pylist() if r["event"] == "step" and r["stage"] == "open"
    ]
    for step, row in enumerate(rows):
        issued, trained, left_out = (
            sum(e["event"] == event and e["group"].startswith(f"open-{step}-") for e in events(run))
            for event in ("issued", "trained", "dropped")
        )
        assert trained <= 8 <= issued == trained + left_out and row["dropped_groups"] == left_out / issued
        assert row["reward"] < 0 < row["grad_norm"]
