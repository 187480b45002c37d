"""Every kept input once more: starting points for the fuzzer, and inputs that once found a fault."""

from pathlib import Path

import pytest
from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_input_is_taken_or_refused_in_words(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
