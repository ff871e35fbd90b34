"""Which worker gets which share, and what happens to a share that fails. Real processes are in test_work_pool."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime.remote import RemoteFailure
from cluster.pools.dispatcher import Dispatcher
from cluster.pools.shares import Failed
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import Health, Limits

REFS = count()


def ready_worker(rank, version=3):
    worker = WorkerHandle(rank, f"w-{rank}", f"actor {rank}", Health(Limits(), 0.0))
    worker.health.started(0.0)
    worker.health.verified(version, 0.0)
    return worker


def send(actor, items):
    return next(REFS)  # stands for Ray's reference


def held(worker):
    return [list(call.share.items) for call in worker.calls.values()]


def test_ready_workers_get_one_share_each_before_any_gets_a_second():
    dispatcher = Dispatcher(shares_each=2, min_share_s=1, tries=1)
    workers = [ready_worker(1), ready_worker(0), ready_worker(2, version=2)]
    dispatcher.submit(list(range(10)), send, 60, parts=5)
    dispatcher.hand_out(workers, 3, 0.0)
    assert held(workers[1]) == [[0, 1], [4, 5]] and held(workers[0]) == [[2, 3], [6, 7]]  # the lower rank first
    assert not workers[2].calls  # it holds another version
    assert [list(share.items) for share in dispatcher.queue] == [[8, 9]]


def test_results_of_the_wrong_number_are_refused():
    dispatcher, worker = Dispatcher(1, 1, 1), ready_worker(0)
    dispatcher.submit([1, 2, 3], send, 60, parts=1)
    dispatcher.hand_out([worker], 3, 0.0)
    (call,) = worker.calls.values()
    with pytest.raises(RemoteFailure, match="w-0 gave 2 results for 3 items"):
        dispatcher.accept(worker, call.share, [1, 2], call.since, 1.0)
    assert not dispatcher.spans


@given(st.integers(1, 20), st.integers(1, 5), st.sets(st.integers(0, 19)), st.integers(1, 3), st.integers(1, 3))
def test_every_item_gets_its_result_and_only_bad_ones_fail(size, parts, bad, tries, workers):
    """A share with a bad item fails as a whole. In the end the others get through, and each bad item fails alone."""
    dispatcher = Dispatcher(shares_each=1, min_share_s=1, tries=tries)
    pool = [ready_worker(rank) for rank in range(workers)]
    batch = dispatcher.submit(list(range(size)), send, 60, parts)
    failures = dict.fromkeys(range(size), 0)  # alone
    for turn in range(1000):
        if batch.done:
            break
        dispatcher.hand_out(pool, 3, float(turn))
        for worker in pool:
            for ref, call in list(worker.calls.items()):
                worker.complete(ref)
                items = list(call.share.items)
                assert call.limit_s >= 1
                if bad & set(items):
                    if len(items) == 1:
                        failures[items[0]] += 1
                    dispatcher.retry(call.share, f"{items} failed")
                else:
                    dispatcher.accept(worker, call.share, [2 * item for item in items], call.since, turn + 0.5)
    assert batch.results == [Failed(f"[{i}] failed") if i in bad else 2 * i for i in range(size)]
    assert all(failures[i] == (tries if i in bad else 0) for i in range(size))
    assert sum(span.items for span in dispatcher.spans) == size - len(bad & set(range(size)))


def test_halves_have_half_the_time_but_no_less_than_the_minimum():
    dispatcher = Dispatcher(1, min_share_s=20, tries=1)
    dispatcher.submit([1, 2, 3, 4], send, 60, parts=1)
    dispatcher.retry(dispatcher.queue.popleft(), "late")
    assert [(list(share.items), share.limit_s) for share in dispatcher.queue] == [([1, 2], 30), ([3, 4], 30)]
    dispatcher.retry(dispatcher.queue.popleft(), "late")
    assert [(list(s.items), s.limit_s) for s in dispatcher.queue] == [([3, 4], 30), ([1], 20), ([2], 20)]


def test_what_a_worker_hands_back_goes_first():
    dispatcher, worker = Dispatcher(1, 1, 1), ready_worker(0)
    dispatcher.submit([1, 2], send, 60, parts=2)
    dispatcher.hand_out([worker], 3, 0.0)
    (call,) = worker.calls.values()
    dispatcher.put_back(call.share)
    assert [list(share.items) for share in dispatcher.queue] == [[1], [2]]


@pytest.fixture
def begun():
    """A dispatcher, a worker that has a share of four items, and that share."""
    dispatcher, worker = Dispatcher(shares_each=1, min_share_s=5, tries=1), ready_worker(0)
    batch = dispatcher.submit("abcd", send, 60, parts=1)
    dispatcher.hand_out([worker], 3, 0.0)
    (call,) = worker.calls.values()
    return dispatcher, worker, batch, call.share


def test_results_that_came_one_by_one_are_kept_if_the_worker_dies(begun):
    dispatcher, _, batch, share = begun
    dispatcher.accept_one(share, 2, "C")
    dispatcher.retry(share, "it died")
    assert batch.results == [None, None, "C", None]
    assert [(part.items, part.limit_s) for part in dispatcher.queue] == [(["a"], 30), (["b", "d"], 30)]


def test_the_last_item_that_is_left_is_tried_alone_before_it_is_given_up(begun):
    dispatcher, _, batch, share = begun
    for position in (0, 1, 3):
        dispatcher.accept_one(share, position, "x")
    dispatcher.retry(share, "it died")
    (alone,) = dispatcher.queue
    assert alone.items == ["c"] and not batch.done
    dispatcher.retry(alone, "it died again")
    assert batch.results[2] == Failed("it died again")


def test_nothing_is_tried_again_once_all_results_have_come(begun):
    dispatcher, worker, batch, share = begun
    for position in range(4):
        dispatcher.accept_one(share, position, position)
    dispatcher.retry(share, "it died")
    dispatcher.put_back(share)
    assert not dispatcher.queue and batch.results == [0, 1, 2, 3]
    dispatcher.end(worker, share, 0.0, 2.0)
    assert dispatcher.spans == [("w-0", 0.0, 2.0, 4)]


def test_a_stream_that_ends_too_early_is_refused(begun):
    dispatcher, worker, _, share = begun
    dispatcher.accept_one(share, 1, "B")
    with pytest.raises(RemoteFailure, match="w-0 gave 1 results for 4 items"):
        dispatcher.end(worker, share, 0.0, 1.0)
