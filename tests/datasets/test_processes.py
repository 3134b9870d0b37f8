"""A process is known again by boot and ticks, also after the clock was set, and no other is taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import psutil
import pytest

from datasets import processes
from datasets.processes import Identity, end, identify, is_running, recorded

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell neither boot nor ticks")


def test_this_process_lives_and_is_known_again():
    me = identify(os.getpid())
    assert me.pid == os.getpid()
    assert is_running(me)
    assert recorded(asdict(me)) == me


@linux
def test_a_clock_that_is_set_changes_nothing():
    me = identify(os.getpid())
    assert is_running(replace(me, pid_started=me.pid_started + 7200))


@linux
@pytest.mark.parametrize("change", [{"ticks": 5}, {"boot": "another"}])
def test_another_start_or_boot_is_another_process(change):
    assert not is_running(replace(identify(os.getpid()), **change))


def test_records_without_boot_and_ticks_are_compared_by_the_clock(monkeypatch):
    started = psutil.Process().create_time()
    assert is_running(Identity(os.getpid(), started + 0.5))
    assert not is_running(Identity(os.getpid(), started + 5))
    assert is_running(Identity(os.getpid())), "nothing speaks against it"
    now = identify(os.getpid())
    monkeypatch.setattr(processes, "this_boot", lambda: None)
    monkeypatch.setattr(processes, "_ticks", lambda pid: None)
    assert is_running(now), "recorded where the system told them, read where it does not"


def test_a_process_that_ended_lives_no_more_also_before_it_is_waited_for(eventually):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    its = identify(child.pid)
    assert is_running(its)
    child.kill()
    eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert not is_running(its)
    assert identify(child.pid) is None
    child.communicate()
    assert not is_running(its)


@pytest.mark.parametrize("pid", [-1, 2**40, 2**100])
def test_numbers_that_are_no_process(pid):
    assert identify(pid) is None


@pytest.mark.parametrize("record", [{}, {"pid": None}, {"pid": "5"}, {"pid_started": 1.0}])
def test_records_that_name_no_process(record):
    assert recorded(record) is None


@linux
def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields(tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as child:
        ticks = identify(child.pid).ticks
        assert abs(ticks / os.sysconf("SC_CLK_TCK") - identify(os.getpid()).ticks / os.sysconf("SC_CLK_TCK")) < 3600
        assert ticks >= identify(os.getpid()).ticks
        child.kill()


@pytest.mark.parametrize("how", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_child_ends_when_it_is_asked_to_or_is_killed(how):
    command = [sys.executable, "-c", f"import signal; {how}; print(flush=True); signal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        end(child, 5.0 if how == "pass" else 0.1)
        assert child.returncode == -(signal.SIGTERM if how == "pass" else signal.SIGKILL)
        end(child, 5.0)
