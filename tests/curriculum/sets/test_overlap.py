"""What one source holds out, no other trains on."""

import shutil

import numpy as np
from PIL import Image

from curriculum.check import check_tasks
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.mapped import open_tasks
from curriculum.sets.overlap import overlaps
from curriculum.sets.task_table import Part, TaskTable
from curriculum.taskset import write_tasks
from tests.support.task_sets import question


def table_of(tmp_path, **sources):
    """The tasks of some sources, checked; their images lie in the folder of their source."""
    parts = []
    for name, tasks in sources.items():
        write_tasks(tasks, tmp_path / name)
        list(check_tasks(tmp_path / name))
        parts.append(Part(name, open_tasks(tmp_path / name)))
    return TaskTable(parts, np.arange(sum(len(part.tasks) for part in parts)))


def test_a_patient_of_the_same_data_set_is_found_and_a_namesake_is_not(tmp_path):
    table = table_of(
        tmp_path,
        mine=[question("a", patient="p1", source="NIH"), question("b", patient="p2", source="NIH")],
        theirs=[
            question("c", patient="p1", source="NIH", split="test"),
            question("d", patient="p2", source="VinDr", split="val"),
        ],
    )
    assert overlaps(table) == {0: "patient 'p1' of NIH is held out by source 'theirs'"}


def test_what_a_source_holds_out_itself_is_not_asked_here(tmp_path):
    table = table_of(
        tmp_path, mine=[question("a", patient="p"), question("b", patient="p", split="test")], theirs=[question("c")]
    )
    assert overlaps(table) == {}


def test_a_film_is_found_by_its_path_and_by_what_it_shows(tmp_path):
    drawn = list(draw_phantom_set(PhantomConfig(train=3, val=1, test=1), tmp_path / "drawn"))
    films = list(dict.fromkeys(image for task in drawn for image in task.images))
    (tmp_path / "again").mkdir()
    again = tmp_path / "again/other_name.jpg"
    Image.open(films[1]).convert("L").resize((90, 90)).save(again, quality=85)
    copied = tmp_path / "again/copy.png"
    shutil.copy(films[2], copied)
    table = table_of(
        tmp_path,
        mine=[question(f"a{n}", images=(film,)) for n, film in enumerate(films)],
        theirs=[
            question(f"b{n}", images=(str(film),), split="test") for n, film in enumerate((films[0], again, copied))
        ],
    )
    found = overlaps(table)
    assert list(found) == [0, 1, 2]
    assert found[0] == f"film {films[0]} is held out by source 'theirs'"
    for row, twin in ((1, again), (2, copied)):
        assert found[row] == f"film {films[row]} shows the film that {twin} shows, which is held out by source 'theirs'"
