"""Work that is spread over a cluster gives what one process gives, to the byte, and its failures are one line."""

import os
import signal
import time

import numpy as np
import pytest

from actors.runtime.remote import RemoteFailure
from cluster.cli.app import main  # noqa: F401 - the command, as users start it
from cluster.errors import UserError
from cluster.standalone import spread
from curriculum.importers import load_importers
from curriculum.sets.mapped import COPY_NAME
from curriculum.taskset import TaskSetError
from tests.cluster.cli.test_data import CliRunner, app
from tests.cluster.standalone.test_data_check import run
from tests.curriculum.importers.labels.test_dicom import film as draw_dicom
from tests.support.task_sets import with_faults


def test_the_cluster_says_what_one_process_says(ray_session, clean_set, tmp_path_factory, monkeypatch, capsys):
    folder = with_faults(clean_set, tmp_path_factory)
    said = []
    for options in ([], ["--cluster"]):
        (folder / COPY_NAME).unlink(missing_ok=True)
        assert run(monkeypatch, folder, *options) == 2
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "row 6 " in said[0]


@pytest.fixture
def dicom_films(tmp_path):
    """Two parts of DICOM films and their table; one film is broken, one is not there."""
    rows = ["image,labels,patient_id"]
    for number in range(18):
        name = draw_dicom(tmp_path / f"in/{number}.dcm", np.arange(256).reshape(16, 16) * (number + 1) % 4096)
        rows.append(f"{name if number == 3 else number},{'Mass|Edema' if number % 3 else 'No finding'},p{number}")
    (tmp_path / "in/5.dcm").write_bytes((tmp_path / "in/5.dcm").read_bytes()[:-100])
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "gone,Mass,p1"]))
    return tmp_path


def test_an_import_on_the_cluster_is_the_same_to_the_byte(ray_session, dicom_films):
    found = []
    for options in ([], ["--cluster"]):
        out = dicom_films / "out"
        words = ["--images", dicom_films / "in", "--labels", dicom_films / "labels.csv", "--out", out, *options]
        done = CliRunner().invoke(app, ["data", "import", "dicom", *map(str, words)])
        assert done.exit_code == 0, done.output
        files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        found.append((done.output, files))
        out.rename(dicom_films / f"out{len(found)}")
    assert found[0] == found[1] and len(found[0][1]) == 18
    assert "skipped 1 films whose DICOM file cannot be read" in found[0][0]


def test_an_import_that_fails_on_the_cluster_leaves_nothing(ray_session, dicom_films):
    for number in range(18):
        (dicom_films / f"in/{number}.dcm").write_text("no film")
    words = ["--images", dicom_films / "in", "--labels", dicom_films / "labels.csv", "--out", dicom_films / "out"]
    done = CliRunner().invoke(app, ["data", "import", "dicom", *map(str, words), "--cluster"])
    assert isinstance(done.exception, UserError) and "none of its 19 films could be used" in str(done.exception)
    assert not (dicom_films / "out").exists()


def test_every_importer_that_reads_films_can_spread_them():
    names = {importer.name for importer in load_importers() if any(o.kind == "spread" for o in importer.options)}
    assert names == {"dicom", "vindr", "rsna", "siim"}


def fault(part):
    raise TaskSetError(f"films.csv: row {part} is bad")


def mistake(part):
    raise ValueError(f"part {part}\nis odd")


def death(part):
    os.kill(os.getpid(), signal.SIGKILL)


def endless(part):
    time.sleep(60)


@pytest.mark.parametrize(
    "work, kind, words",
    [
        (fault, TaskSetError, "^films.csv: row 7 is bad$"),
        (mistake, RemoteFailure, "^--cluster: a worker failed: ValueError: part 7 is odd$"),
        (death, RemoteFailure, "^--cluster: a part of the work was lost 2 times; Ray: The worker died"),
        (endless, RemoteFailure, "^--cluster: no part of the work was finished in 0.05 minutes; .* CPUs are free$"),
    ],
)
def test_what_goes_wrong_on_the_cluster_is_one_line(ray_session, monkeypatch, work, kind, words):
    monkeypatch.setattr(spread, "PROGRESS_S", 3.0 if work is endless else 120.0)
    monkeypatch.setattr(spread, "TRIES_AGAIN", 1)
    with pytest.raises(kind, match=words) as caught:
        list(spread.on_cluster(work, [7]))
    assert "\n" not in str(caught.value)


def test_no_work_needs_no_cluster():
    assert list(spread.on_cluster(fault, [])) == []
