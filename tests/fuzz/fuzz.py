"""``fuzz.py TARGET SECONDS``: coverage-guided fuzzing with atheris that starts from the corpus. ``make fuzz`` runs all targets.

An input that makes a target misbehave is kept as ``crash-…`` in tests/fuzz. Fix the fault, and move the input into the corpus.
"""

import os
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
DICTIONARY = HERE / "words.dict"

with atheris.instrument_imports(
    include=["reachy_link", "reachy_service", "reachy_robot", "reachy_gateway", "robot_io", "gemini_gateway", "gemini_live_sim"]
):
    from targets import TARGETS

if __name__ == "__main__":
    name, seconds = sys.argv[1:]
    found = HERE / ".found" / name
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]
    options += [f"-dict={DICTIONARY}", f"-artifact_prefix={HERE}/", "-verbosity=1"]
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    atheris.Setup([sys.argv[0], *options, str(found), str(HERE / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()
