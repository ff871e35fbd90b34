import pytest


@pytest.fixture
def made():
    """What the stand-in of a package was constructed with."""
    return []
