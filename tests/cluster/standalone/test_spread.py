"""A check that is spread over a cluster says what one process says, to the byte."""

from cluster.cli.app import main  # noqa: F401 - the command, as users start it
from curriculum.sets.mapped import COPY_NAME
from tests.cluster.standalone.test_data_check import run
from tests.support.task_sets import with_faults


def test_the_cluster_says_what_one_process_says(ray_session, clean_set, tmp_path_factory, monkeypatch, capsys):
    folder = with_faults(clean_set, tmp_path_factory)
    said = []
    for options in ([], ["--cluster"]):
        (folder / COPY_NAME).unlink(missing_ok=True)
        assert run(monkeypatch, folder, *options) == 2
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "row 6 " in said[0]
