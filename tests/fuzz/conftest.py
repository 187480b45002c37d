import os

import pytest
from hypothesis import settings

settings.register_profile("fuzz", deadline=None, max_examples=300)
settings.load_profile("fuzz")


@pytest.fixture(autouse=True)
def environment():
    """Restore the environment: the target of settings changes it, and all tests share it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
