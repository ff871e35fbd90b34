"""What a writer gave is not asked for again."""

import pytest

from cluster.errors import UserError
from cluster.standalone.traces.journal import Journal
from rewards.traces.writer import Draft
from tests.support.rewards.reported import CHOICE, NAMES

FIRST = Draft("choice", 0, ("a", "b"))
SECOND = Draft("names", 0, (), "no answer holds a trace")


def journal(folder, **settings):
    return Journal(folder, "teacher", {"seed": 0} | settings)


def fill(folder):
    with journal(folder) as written:
        assert written.read([CHOICE, NAMES]) == []
        written.add(FIRST)
        written.add(SECOND)
        return written.path


def test_drafts_come_back(tmp_path):
    fill(tmp_path / "deep" / "out")
    with journal(tmp_path / "deep" / "out") as read:
        assert read.read([CHOICE, NAMES]) == [FIRST, SECOND]
        assert read.read([NAMES]) == [SECOND]


def test_a_task_that_changed_is_asked_for_again_and_one_whose_film_moved_is_not(tmp_path):
    fill(tmp_path)
    moved = CHOICE.model_copy(update={"images": ("elsewhere.png",)})
    changed = NAMES.model_copy(update={"report": "No effusion."})
    with journal(tmp_path) as read:
        assert read.read([moved, changed]) == [FIRST]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    path = fill(tmp_path)
    path.write_text(path.read_text() + '{"task": "choice", "conte')
    with journal(tmp_path) as more:
        assert more.read([CHOICE, NAMES]) == [FIRST, SECOND]
        more.add(Draft("choice", 1, ("c",)))
    with journal(tmp_path) as read:
        assert [draft.texts for draft in read.read([CHOICE])] == [("a", "b"), ("c",)]


def test_other_settings_are_refused_by_name(tmp_path):
    fill(tmp_path)
    with pytest.raises(UserError, match=r"journal.jsonl: it was written with other settings \(model, seed\)"):
        journal(tmp_path, seed=1, model="m").__enter__()
    with pytest.raises(UserError, match="it is of the writer teacher, not report"):
        Journal(tmp_path, "report", {}).__enter__()
    (tmp_path / "journal.jsonl").write_text("hello\n")
    with pytest.raises(UserError, match="it is no journal of traces"):
        journal(tmp_path).__enter__()


def test_two_commands_do_not_write_one(tmp_path):
    with journal(tmp_path), pytest.raises(UserError, match="another command is writing here"):
        journal(tmp_path).__enter__()
