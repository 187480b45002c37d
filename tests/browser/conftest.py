"""What the tests of the page run against."""

import pytest
from browsing import ROBOTS
from pages import running_console
from rig import Keys, running_hub

from gemini_live_sim.server import serve
from reachy_link.address import Address


@pytest.fixture
async def everything(tmp_path, gemini):
    """A simulator, a gateway and a console."""
    made = Keys(tmp_path, *ROBOTS)
    async with serve() as sim, running_hub(made, gemini(sim)) as hub:
        where = [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)]
        async with running_console(made, where, ROBOTS) as console:
            yield sim, hub, console
