"""The floor of ``body.py``: the SDK alone. ``baseline_body.py DAEMON_PORT COUNT`` prints when each target was sent."""

import sys
import time

from robot_io.reachy.sdk import Sdk

port, count = map(int, sys.argv[1:])
sdk = Sdk(port=port)
sdk.connect()
present = sdk.hold()
for n in range(count):
    time.sleep(0.02)
    sent_s = time.monotonic()
    sdk.move(present._replace(yaw_deg=present.yaw_deg + n % 5 / 10))
    sys.stdout.write(f"{sent_s}\n")
sdk.release()
