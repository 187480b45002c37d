"""Light robots, and a server in Gemini's place: what the density bench loads a gateway with, in one process on one core.

``generate.py DIRECTORY ROBOTS SECONDS [--dial PORT] [--tools | --bodies]`` prints one line of JSON with what it measured;
without a gateway's first port there are no robots. The robots speak the real link (CURVE, every header), the server the real
wire (TLS, WebSocket), both with as little code as will do, so that the generator is not what is measured. One monotonic clock
stamps both ends.

A robot's microphone gives 20 ms every 20 ms; a chunk holds the time when it was sent in its first samples. The server sends 4
s of speech in every 8 s, in messages of 40 ms, in real time, and every second turn is cut in its middle, of half the robots
the first; the robots take turns, so that half of them hear something at any time.
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
    parser.add_argument("--bodies", action="store_true", help="robots with a body, of which something is asked every 10 s")
    parser.add_argument("--bursts", action="store_true", help="turns that are sent at once, and cut a second or two later")
    args = parser.parse_args(argv)
    calls = CALLS if args.tools else OF_BODIES if args.bodies else ()
    bench = Bench(args.directory, args.robots, calls, bodies=args.bodies, marks=not args.dial, bursts=args.bursts)
    uvloop.run(bench.run(args.seconds, args.dial))


if __name__ == "__main__":
    main(sys.argv[1:])
