"""What several tests share: a small phantom set, a tiny model, workers, and the folder of a finished run."""

import ast
import os
from functools import cache
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


SHARED = {"run": {"run"}, "ranks": {"one", "two"}}
"""Groups of files that stay in one process, by the fixtures below that they read: a fixture is then made only once."""


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no process is left with it when the other has nothing to do any more.

    First the groups of files that share a fixture. Of those that read the finished run, the one that reads the run's
    metrics leads: Ray forgets them some time after the run has ended. Then the tests marked `early`.
    """
    groups = [*SHARED, None]
    items.sort(
        key=lambda item: (
            groups.index(group_of(item.path)),
            item.path.name != "test_monitoring.py",
            item.get_closest_marker("early") is None,
        )
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n`, a file stays in one process, and a group of `SHARED`, too."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return group_of(TESTS.parent / file) or file

    return Together(config, log)


@cache
def group_of(path):
    """The group of `SHARED` whose fixtures the tests of a file ask for, or fixtures of a conftest between; else None.

    The process that hands out the tests collects none, so this reads the source.
    """
    folders = [folder for folder in path.parents if TESTS in folder.parents]
    sources = [path, *(folder / "conftest.py" for folder in folders)]
    asked = set().union(*(_asked_fixtures(source) for source in sources if source.is_file()))
    return next((group for group, fixtures in SHARED.items() if fixtures & asked), None)


def _asked_fixtures(path):
    """The names that tests and fixtures of a file ask for and that it does not define."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    asking = [function for function in functions if function.name.startswith("test_") or function.decorator_list]
    names = {argument.arg for function in asking for argument in function.args.args}
    return names - {function.name for function in functions if function.decorator_list}


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

    Its last stage drops groups without variance and asks for others, and draws by what tasks teach.
    """
    from examples.train_from_python import main
    from tests.support.short_run import REPLACING, SHORT, SMOKE

    path = tmp_path_factory.mktemp("runs") / "first"
    assert main(SMOKE, [*SHORT, *REPLACING], path).summary["status"] == "finished"
    return path
