"""The density bench's load: light robots and a server in Gemini's place, in one process on one core.

``generate.py DIRECTORY ROBOTS SECONDS [--dial PORT] [--tools | --bodies]`` prints its measurements as one line of JSON. Without
``--dial`` there are no robots. The robots speak the real link (CURVE, every header) and the server the real wire protocol (TLS,
WebSocket), with as little code as possible, so that the bench does not measure the generator. One monotonic clock stamps both
ends.

A robot's microphone gives 20 ms every 20 ms; the first samples of a chunk hold the time when it was sent. In every 8 s the
server sends 4 s of speech, in messages of 40 ms, in real time. Every second turn is interrupted in its middle; half of the
robots begin with an interrupted turn. The robots' turns are staggered, so that half of them hear speech at any time.
"""

import argparse
import sys
from pathlib import Path

import uvloop

from harness.tools import CALLS, OF_BODIES
from load.plan import Bench


def main(argv: list[str]) -> None:
    """Run once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("robots", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--dial", type=int, metavar="PORT", help="the gateway's first port")
    parser.add_argument("--tools", action="store_true", help="call a tool of each robot every 10 s")
    parser.add_argument("--bodies", action="store_true", help="robots with a body, each asked to move every 10 s")
    parser.add_argument("--bursts", action="store_true", help="send a turn at once, and interrupt it a second or two later")
    args = parser.parse_args(argv)
    calls = CALLS if args.tools else OF_BODIES if args.bodies else ()
    bench = Bench(args.directory, args.robots, calls, bodies=args.bodies, marks=not args.dial, bursts=args.bursts)
    uvloop.run(bench.run(args.seconds, args.dial))


if __name__ == "__main__":
    main(sys.argv[1:])
