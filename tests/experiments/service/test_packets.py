"""Messages with memory beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.service import packets
from tests.experiments.service.asking import ROOT

WORDS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(max_size=100), max_size=5)


@given(st.lists(st.tuples(WORDS, st.none() | st.binary(min_size=1, max_size=10_000)), max_size=5))
def test_messages_come_as_they_were_sent(messages):
    ours, theirs = packets.pair()
    with ours, theirs:
        for about, content in messages:
            packets.send(ours, about, content)
        ours.close()
        for about, content in messages:
            received, memory = packets.receive(theirs)
            assert (received, memory and memory[:]) == (about, content)
        with pytest.raises(packets.Ended):
            packets.receive(theirs)


def test_memory_is_the_receivers_alone_and_leaves_no_file_open():
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = packets.pair()
    with ours, theirs:
        packets.send(ours, {}, memoryview(np.arange(1000)))
        packets.send(ours, {}, memoryview(np.arange(1000)))
        (_, first), (_, second) = packets.receive(theirs), packets.receive(theirs)
    with closing(first), closing(second):
        first[:8] = b"changed!"
        assert second[:8] == bytes(8)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("text", [b"[]", b"no JSON", b"\xff\xfe\xfd", b"[" * 60_000])
def test_other_messages_are_refused(text: bytes):
    ours, theirs = packets.pair()
    with ours, theirs:
        ours.send(text)
        with pytest.raises(ValueError, match=r"list|Expecting value|decode|too deeply"):
            packets.receive(theirs)


def test_a_message_without_a_sender_is_an_end():
    ours, theirs = packets.pair()
    with ours:
        theirs.close()
        with pytest.raises(packets.Ended):
            packets.receive(ours)
        with pytest.raises(OSError, match="Broken pipe"):
            packets.send(ours, {"a": 1})


ELSEWHERE = """
import fcntl, os, socket
for name in [name for name in dir(fcntl) if name.startswith("F_SEAL") or name.endswith("_SEALS")]:
    delattr(fcntl, name)
del os.memfd_create, os.MFD_CLOEXEC, os.MFD_ALLOW_SEALING, socket.SOCK_SEQPACKET, socket.MSG_CMSG_CLOEXEC
import experiments.service.decoding
"""


def test_systems_without_such_memory_can_import_it():
    assert subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=ROOT, timeout=120).returncode == 0
