import asyncio
import threading

import pytest

from rewards.calls.targets import LocalTarget, as_exception, in_thread
from rewards.config import OwnRule

RULES = "tests.support.rewards.waiting_rules"


def target(name, **options):
    return LocalTarget(OwnRule(rule=f"{RULES}:{name}", weight=1, options=options))


@pytest.mark.parametrize("name, batch_size, concurrency", [("asks", 1, 32), ("Asks", 1, 32), ("Batches", 8, 1)])
def test_how_many_at_once_is_a_matter_of_the_form(name, batch_size, concurrency):
    found = target(name)
    asyncio.run(found.start())
    assert (found.batch_size, found.concurrency) == (batch_size, concurrency)


def test_work_in_a_thread_gives_its_result_or_its_error():
    async def both():
        assert await in_thread(threading.current_thread) is not threading.current_thread()
        with pytest.raises(KeyError, match="gone"):
            await in_thread(lambda: {}["gone"])

    asyncio.run(both())


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
def test_what_would_end_the_loop_becomes_an_error(error):
    assert isinstance(as_exception(error), RuntimeError) and type(error).__name__ in str(as_exception(error))
    assert as_exception(ValueError("x")).args == ("x",)
