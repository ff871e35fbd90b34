"""TensorBoard files hold the numbers of a run by their names."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cluster.trackers import RunInfo, TensorBoard


def test_the_files_hold_every_number(tmp_path):
    board = TensorBoard(RunInfo(tmp_path, {}, {}))
    for step in (1, 2):
        board.add({"closed/step/reward": step / 4, "closed/step/kl": 0.0}, step)
    board.flush()
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in read.Scalars("closed/step/reward")] == [(1, 0.25), (2, 0.5)]
    assert read.Tags()["scalars"] == ["closed/step/reward", "closed/step/kl"]
    board.close()
