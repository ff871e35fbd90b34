"""One actor admits the runs of all replicas, so that none of them exceeds a quota or takes a name twice."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar

import pytest
import ray

from cluster.config.recipe_file import parse_recipe
from cluster.control.ray_jobs import Job
from cluster.control.run_actor import NAMESPACE
from cluster.errors import UserError
from cluster.service.quota_keeper import Admission, Place, QuotaKeeper, SharedRunJobs, end_keeper, keeper_of
from cluster.service.routes.runs_schema import EXAMPLE
from cluster.service.run_jobs import Conflict, RunJobs
from cluster.service.tokens import Quota, new_token

RECIPE = parse_recipe(EXAMPLE, "recipe")


class ListedJobs(RunJobs):
    """Hands jobs to a list in place of a cluster with a dashboard."""

    known: ClassVar[list[Job]] = []

    def _jobs(self) -> list[Job]:
        return list(self.known)

    def _submit(self, command, run, recipe, token) -> str:
        time.sleep(0.02)  # long enough for another request to come between
        self.known.insert(0, Job(run, token.name, time.time(), True, ""))
        return f"job-{len(self.known)}"


class ListingKeeper(QuotaKeeper):
    def run_jobs(self, place: Place) -> RunJobs:
        return ListedJobs(place.root, place.tokens, place.driver_cpus)


@pytest.fixture
def root(ray_session, tmp_path):
    yield tmp_path
    end_keeper(tmp_path)


def token_of(**quota):
    return new_token("ada", "operate", Quota(**quota))[1]


@ray.remote(num_cpus=0)
def ask_as_a_replica(root, token, count):
    """What `count` requests at once get from one replica: the run and its job, or the refusal."""
    jobs = SharedRunJobs(root, [token], 0)

    def ask(_):
        try:
            return jobs.start(RECIPE, None, token)
        except Conflict as refused:
            return str(refused)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def test_replicas_together_keep_a_quota_and_take_every_name_once(root):
    options = {"name": f"quotas of {root}", "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0}
    ray.remote(ListingKeeper).options(**options).remote()
    answers = ray.get([ask_as_a_replica.remote(root, token_of(runs=5), 4) for _ in range(3)], timeout=120)
    answers = [answer for replica in answers for answer in replica]
    admitted = [answer for answer in answers if not isinstance(answer, str)]
    assert sorted(job for _, job in admitted) == [f"job-{number}" for number in range(1, 6)]
    assert sorted(run for run, _ in admitted) == ["quickstart", *(f"quickstart-{number}" for number in range(2, 6))]
    refused = [answer for answer in answers if isinstance(answer, str)]
    assert len(refused) == 7
    assert all(text.startswith("the quota of ada: runs: at most 5 at once; this run takes 1") for text in refused)


def test_refusals_and_faults_come_without_a_trace_and_a_dead_keeper_is_replaced(root):
    jobs = SharedRunJobs(root, [], 0)
    token = token_of(cpus=0.5)
    with pytest.raises(Conflict, match=r"^the quota of ada: cpus: at most 0.5 at once; this run takes [\d.]+$"):
        jobs.start(RECIPE, None, token)
    ray.kill(keeper_of(root))
    with suppress(UserError):  # its name may be taken for a moment still
        jobs.start(RECIPE, None, token_of())
    with pytest.raises(UserError, match="^the cluster takes no job: [^\n]*$"):  # this one has no dashboard
        jobs.start(RECIPE, None, token_of())
    assert not list((root / ".submitted").glob("*.yaml"))


def test_a_request_whose_caller_waits_no_more_does_nothing(tmp_path):
    place = Place(tmp_path, (), 0)
    late = Admission(fault="the request came too late")
    assert QuotaKeeper().start(place, time.time() - 1, RECIPE, None, token_of()) == late
    assert QuotaKeeper().resume(place, time.time() - 1, tmp_path, token_of()) == late
    assert QuotaKeeper().scale(place, time.time() - 1, tmp_path, {"rollout": 2}) == late
    assert not list(tmp_path.iterdir())
