"""The journal survives being cut, a full disk and forked writers, and gives back what was written."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from experiments.tracking.journal import FILE_NAME, Journal, new_key, read

pytestmark = pytest.mark.usefixtures("home")


def test_records_come_back_in_order_with_their_numbers(journal):
    journal.append("start", document={"config": {"a": 1}})
    journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    journal.append("end", status="COMPLETED", stop_time=2.0, result={"x": 1}, fail_trace=None)
    records = list(read(journal.directory))
    assert [(record["seq"], record["kind"]) for record in records] == [(1, "start"), (2, "metrics"), (3, "end")]
    assert records[1]["points"] == [[0, 0.5, 1.0]]
    assert [record["seq"] for record in read(journal.directory, after=2)] == [3]
    assert [record["seq"] for record in read(journal.directory, metrics=False)] == [1, 3]


def test_key_and_places(journal, home):
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", journal.key)
    assert journal.directory.name == journal.key
    pointer = json.loads((home / "pending" / f"{journal.key}.json").read_text())
    assert pointer == {"run": str(journal.directory)}
    assert (journal.directory / FILE_NAME).stat().st_mode & 0o077 == 0
    assert len({new_key() for _ in range(100)}) == 100


def test_a_journal_cut_at_every_byte_of_its_last_line_is_readable_and_goes_on(journal, tmp_path):
    for step in range(3):
        journal.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
    whole = (journal.directory / FILE_NAME).read_bytes()
    last = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1]
    for length in range(len(last), len(whole)):
        copy = tmp_path / "cut" / str(length)
        copy.mkdir(parents=True)
        (copy / FILE_NAME).write_bytes(whole[:length])
        assert [record["seq"] for record in read(copy)] == [1, 2]
        again = Journal.open(copy)
        assert again.append("beat", set={}) == 3
        again.close()
        assert [record["kind"] for record in read(copy)] == ["metrics", "metrics", "beat"]


def test_a_killed_writer_loses_nothing_it_wrote(tmp_path, home, eventually):
    code = (
        "import sys; from experiments.tracking.journal import Journal\n"
        "journal = Journal.create(sys.argv[1]); step = 0\n"
        "while True:\n"
        " journal.append('metrics', name='loss', points=[[step, 0.5, 1.0]]); step += 1; print(step, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "runs")], stdout=subprocess.PIPE, text=True
    ) as child:
        written = 0
        while written < 500:
            written = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        written = max([written, *(int(line) for line in child.stdout if line.endswith("\n"))])
    (run_dir,) = (tmp_path / "runs").iterdir()
    records = list(read(run_dir))
    assert len(records) >= written
    assert [record["points"][0][0] for record in records] == list(range(len(records)))


def test_threads_share_a_journal(journal):
    def work(name):
        for step in range(200):
            journal.append("metrics", name=name, points=[[step, 1.0, 1.0]])

    threads = [threading.Thread(target=work, args=(f"series{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record["seq"] for record in read(journal.directory)] == list(range(1, 801))


def test_values_are_made_storable_named_once_and_masked(journal, caplog):
    with caplog.at_level(logging.WARNING, "ostinato.tracking"):
        for step in range(3):
            journal.append("metrics", name="loss", points=[[step, np.zeros(2), 1.0], [step, 0.5, 1.0]])
        journal.append("info", set={"info.best": {"path": journal.directory}, "info.api_key": "hemiola99"})
        journal.append("end", status="FAILED", stop_time=1.0, result=None, fail_trace=["ValueError: hemiola99\n"])
    metrics, _, third, info, end = read(journal.directory)
    assert metrics["points"] == [[0, 0.5, 1.0]]
    assert "left out" in metrics["changed"]["loss"]
    assert "changed" not in third
    assert info["set"]["info.best"]["path"] == str(journal.directory)
    assert list(info["changed"]) == ["info,best,path"]
    assert sum("metrics loss" in message for message in caplog.messages) == 1
    assert "hemiola99" not in (journal.directory / FILE_NAME).read_text()
    assert end["fail_trace"] == ["ValueError: ***\n"]


def test_a_full_disk_is_reported_once_and_ends_nothing(journal, caplog):
    journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (journal.directory / FILE_NAME).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, limits[1]))  # room for a part of a line
    try:
        with caplog.at_level(logging.WARNING, "ostinato.tracking"):
            for step in range(1, 5):
                journal.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len([message for message in caplog.messages if "cannot be written" in message]) == 1
    assert [record["seq"] for record in read(journal.directory)] == [1]
    assert [record["seq"] for record in journal.backlog()] == [2, 3, 4, 5]
    journal.append("beat", set={})
    assert [record["seq"] for record in read(journal.directory)] == [1, 2, 3, 4, 5, 6]
    assert journal.backlog() == []


def test_a_forked_child_writes_nothing_and_says_so(journal, caplog):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        seq = journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
        journal.close()
        os.write(write_end, f"{seq} {len(caplog.messages)}".encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    assert os.read(read_end, 100).decode() == "0 1"
    os.close(read_end)
    assert journal.append("beat", set={}) == 1
    assert len(list(read(journal.directory))) == 1


def test_files_are_kept_whatever_happens_to_the_original(journal, tmp_path, monkeypatch):
    source = tmp_path / "curve.png"
    source.write_bytes(b"first")
    journal.add_file(source, "plots/curve.png")
    source.unlink()
    (record,) = read(journal.directory)
    assert record["name"] == "plots_curve.png"
    assert record["bytes"] == 5
    assert (journal.directory / record["file"]).read_bytes() == b"first"
    monkeypatch.setattr("experiments.tracking.journal.COPIED", 3)
    source.write_bytes(b"large")
    journal.add_file(source, "linked.bin")
    assert (journal.directory / "files" / "linked.bin").stat().st_nlink == 2
    shutil.rmtree(journal.directory / "files")
    assert source.read_bytes() == b"large"


def test_a_missing_file_is_named_and_nothing_else_happens(journal):
    journal.add_file("nowhere.png")
    (record,) = read(journal.directory)
    assert record["file"] is None
    assert "No such file" in record["changed"]["artifact,nowhere,png"]


def test_only_the_marks_of_a_run_wait_for_the_disk(journal, monkeypatch):
    """Scalars are appended without; so are the pictures and checkpoints, which have files of their own."""
    forced = []
    monkeypatch.setattr("experiments.tracking.journal.os.fsync", forced.append)
    for step in range(50):
        journal.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
    journal.append("info", set={"info.a": 1})
    assert forced == []
    for kind in ("start", "segment", "beat", "end"):
        journal.append(kind)
    assert len(forced) == 4


def test_a_home_that_cannot_be_written_costs_the_pointer_only(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    journal = Journal.create(tmp_path / "runs", home=blocked)
    assert journal.append("beat", set={}) == 1
    journal.close()
    assert "only when it is named" in caplog.text
