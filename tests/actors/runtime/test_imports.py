"""Imports ahead are over when the block ends, unless the process is to end."""

import threading

import pytest

from actors.runtime import imports
from actors.runtime.imports import imports_ahead


@pytest.fixture
def importing(monkeypatch):
    """An import that lasts until the event is set, and what is known of it."""
    go_on, done = threading.Event(), threading.Event()
    monkeypatch.setattr(imports, "_import", lambda: go_on.wait(60) and done.set())
    yield go_on, done
    go_on.set()


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_end_of_the_block_waits_for_them(importing, error):
    go_on, done = importing
    threading.Timer(0.2, go_on.set).start()
    try:
        with imports_ahead():
            if error:
                raise error
    except ValueError:
        pass
    assert done.is_set()


def test_an_interrupt_does_not_wait(importing):
    with pytest.raises(KeyboardInterrupt), imports_ahead():
        raise KeyboardInterrupt
    assert not importing[1].is_set()
