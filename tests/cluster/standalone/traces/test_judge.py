"""Traces that are written and verified on a cluster are those of one process."""

import re
from random import Random

import pytest

from cluster.errors import UserError
from cluster.standalone.traces.judge import PART, Judge
from cluster.standalone.traces.make import TracePlan, find_tasks, make_traces
from curriculum.taskset import read_tasks, write_tasks
from rewards.traces.report_writer import ReportWriter, trace_of
from rewards.traces.verifier import VerifierConfig
from rewards.traces.writer import Ask, Draft
from tests.cluster.standalone.traces.test_make import run
from tests.support.rewards.reported import CHOICE, TASKS

GOOD = trace_of(CHOICE, Random(1))


def test_traces_of_the_cluster_are_the_same_to_the_byte(ray_session, reported, tmp_path, monkeypatch):
    part = 8
    monkeypatch.setattr("cluster.standalone.traces.judge.PART", part)
    tasks = read_tasks(reported)
    many = [task.model_copy(update={"id": f"{task.id}-{n}"}) for n in range(2 * part // len(tasks)) for task in tasks]
    write_tasks(many, tmp_path / "many")
    found = []
    for options in ([], ["--cluster"], ["--cluster"]):  # the last one verifies what is there
        out = tmp_path / f"out{bool(options)}"
        printed = run(tmp_path / "many", "--out", out, "--per-task", 2, *options).replace(str(out), "OUT")
        printed = re.sub(r".* tasks have a trace\n", "", printed)  # as often as it takes long
        found.append((printed, *((out / name).read_bytes() for name in ("tasks.parquet", "journal.jsonl"))))
    assert found[0] == found[1]
    assert found[2][1:] == found[0][1:] and f"{len(found[0][2].splitlines()) // 2:,} drafts were there" in found[2][0]


def test_the_policy_is_on_the_cluster_without_being_asked(reported, tmp_path):
    with pytest.raises(UserError, match="--writer policy does not take --cluster"):
        run(reported, "--out", tmp_path / "out", "--writer", "policy", "--model", "m", "--cluster")


def test_drafts_that_are_there_are_verified_in_their_order():
    drafts = [Draft("choice", number, (GOOD,) if number % 3 else ("B", GOOD)) for number in range(2 * PART + 1)]
    judge = Judge(ReportWriter(0, 3), VerifierConfig(), map, print)
    judged = list(judge.check((CHOICE, draft) for draft in drafts))
    assert [found.draft for found in judged] == drafts
    assert [len(checks) for _, checks in judged] == [len(draft.texts) for draft in drafts]
    assert [check.reason for check in judged[0].checks] == ["format", ""]


def test_a_writer_that_needs_this_process_is_asked_here():
    class Here(ReportWriter):
        runs_anywhere = False

    def spread(function, parts):
        raise AssertionError

    asks, kept = [Ask(task, 0) for task in TASKS], []
    judged = list(Judge(Here(0, 3), VerifierConfig(), spread, kept.append).write(asks))
    assert [draft.task_id for draft, _ in judged] == [draft.task_id for draft in kept] == [task.id for task in TASKS]


def test_a_stopped_writer_ends_the_work_between_two_parts(reported, tmp_path):
    writer = ReportWriter(0, 3)

    def spread(function, parts):
        yield function(parts[0])
        writer.stop()
        yield function(parts[1])

    tasks = [CHOICE.model_copy(update={"id": f"t{number}"}) for number in range(3 * PART)]
    assert len(list(Judge(writer, VerifierConfig(), spread, print).write([Ask(task, 0) for task in tasks]))) == PART
    plan = TracePlan(reported, tmp_path / "out")
    assert make_traces(plan, find_tasks(reported), ReportWriter(0, 3), lambda line: None, map).accepted == 6
