"""What several tests share: a small phantom set, and a tiny model whose tokenizer is trained on its texts."""

import os

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


ABOUT_A_RUN = ("test_run.py", "test_control.py", "test_monitoring.py", "test_service.py")  # all read the finished one


def pytest_collection_modifyitems(items):
    """Whole runs first: they take longest, and where two processes share the files (pytest-xdist) the other does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name not in ABOUT_A_RUN)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files stay whole, and the finished run is made by one process alone."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "run" if file.endswith(ABOUT_A_RUN) else file

    return Together(config, log)


@pytest.fixture(scope="session")
def phantom_tasks(tmp_path_factory):
    """24 films, four questions each; the reports are no questions, and left out."""
    tasks = draw_phantom_set(PhantomConfig(train=16, val=4, test=4), tmp_path_factory.mktemp("phantoms"))
    return [task for task in tasks if task.family != "report"]


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
    from tests.support.ranks import start_world

    world = start_world(ranks, model)
    yield world
    world.end()


@pytest.fixture(scope="session")
def run(ray_session, tmp_path_factory):
    """The folder of a finished run, which no test changes. Its last stage drops groups without variance, and asks for others."""
    from cluster.config.recipe_file import load_recipe
    from cluster.run.launch import start
    from tests.support.short_run import SHORT, SMOKE

    path = tmp_path_factory.mktemp("runs") / "first"
    assert start(load_recipe(SMOKE, [*SHORT, "stages.open.training.algorithm=dapo"]), path) == 0
    return path
