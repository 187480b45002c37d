"""A world for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Keys
from world import ROBOT, World, kept


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = Keys(tmp_path, ROBOT)
    with kept(tmp_path) as keeper:
        world = World(tmp_path, made, keeper)
        try:
            yield world
        finally:
            world.close()
