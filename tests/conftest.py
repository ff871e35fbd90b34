"""What several tests share: a small phantom set, a tiny model, workers, and the folder of a finished run."""

import os
from pathlib import Path

# Before torch is imported, here and in subprocesses. Passive: threads that spin are slow where others want the cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
from hypothesis import settings

from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set

quiet_libraries()
settings.register_profile("repo", deadline=None, derandomize=True, database=None)
settings.load_profile("repo")

TESTS = Path(__file__).parent


def pytest_configure(config):
    """With `-n`, pytest-xdist hands out the groups that are marked below, not single tests."""
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadgroup"


def pytest_collection_modifyitems(items):
    """Keeps each file in one process, and all files that read the finished run in the same one, which comes first.

    The `run` fixture below takes longest, so only one process makes it; the others run the remaining files meanwhile.
    """
    of_the_run = {item.path for item in items if _uses_finished_run(item)}
    for item in items:
        group = "run" if item.path in of_the_run else item.path.relative_to(TESTS).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path not in of_the_run)


def _uses_finished_run(item):
    """Whether the test gets the `run` fixture below, of a session; a file may have a smaller one of that name."""
    definitions = item._fixtureinfo.name2fixturedefs.get("run", ())
    return bool(definitions) and definitions[-1].scope == "session"


@pytest.fixture(scope="session")
def phantom_tasks(tmp_path_factory):
    """24 films, four questions each; the reports are no questions, and left out."""
    tasks = draw_phantom_set(PhantomConfig(train=16, val=4, test=4), tmp_path_factory.mktemp("phantoms"))
    return [task for task in tasks if task.family != "report"]


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory):
    """The folder of a task set without faults, and its rows. No test changes them."""
    from tests.support.task_sets import make_clean_set

    return make_clean_set(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, phantom_tasks):
    """The folder of a model with random weights."""
    texts = [" ".join([t.question, *t.options.values(), t.reference]) for t in phantom_tasks]
    return make_tiny_model(TinyModelConfig(vision_steps=0), texts, tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def ray_session():
    """One local Ray cluster for all tests that need workers."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def one(ray_session, tiny_model):
    """A process in which tests make a learner rank, one after the other."""
    yield from _world(1, tiny_model)


@pytest.fixture(scope="session")
def two(ray_session, tiny_model):
    """Two processes for two ranks."""
    yield from _world(2, tiny_model)


def _world(ranks, model):
    from tests.support.learner.ranks import start_world

    world = start_world(ranks, model)
    yield world
    world.end()


@pytest.fixture(scope="session")
def run(ray_session, tmp_path_factory):
    """The folder of a finished run, which no test changes.

    Its last stage drops groups without variance and asks for others.
    """
    from examples.train_from_python import main
    from tests.support.short_run import SHORT, SMOKE

    path = tmp_path_factory.mktemp("runs") / "first"
    assert main(SMOKE, [*SHORT, "stages.open.training.algorithm=dapo"], path).summary["status"] == "finished"
    return path
