"""Microphones without a peer: what they cost in each of the other programs. ``nothing.py URL ROOT ROBOTS MODE``."""

import asyncio
import sys

from common import Ears, Push, run


async def connect(robot: int, ears: Ears) -> Push:
    """A robot whose audio goes nowhere."""
    del robot, ears
    return lambda _: None


asyncio.run(run(connect, int(sys.argv[3])))
