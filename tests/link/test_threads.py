"""libzmq's thread does not interrupt the event loop, and that setting changes nothing else."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from reachy_link.sockets import patient_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a policy of Linux's scheduler")


def policies() -> dict[int, int]:
    """The scheduling policy of each thread of this process. A thread that ends meanwhile is left out."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found


def started(context: "zmq.Context[zmq.Socket[bytes]]") -> set[int]:
    """The policies of the threads that a context's first socket starts."""
    before = policies()
    with context.socket(zmq.PUB):
        return {policy for thread, policy in policies().items() if thread not in before}


def test_threads_that_are_started_within_take_their_turn_and_others_do_not():
    with zmq.Context() as patient, zmq.Context() as usual:
        with patient_threads():
            assert started(patient) == {os.SCHED_BATCH}
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        assert started(usual) == {os.SCHED_OTHER}


def test_where_the_system_does_not_permit_it_all_stays_as_it_is(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with zmq.Context() as context, patient_threads():
        assert started(context) == {os.SCHED_OTHER}
