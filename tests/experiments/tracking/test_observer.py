"""Sacred's events in the journal; nothing that a run does ends its recording."""

from __future__ import annotations

import datetime
import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict
from pymongo.database import Database
from sacred.observers import RunObserver

from experiments.tracking import Experiment, TrackingSettings
from experiments.tracking.journal import Journal, read
from experiments.tracking.liveness import end_of
from experiments.tracking.observer import EVENTS, JournalObserver, MaskedObserver, flat_result
from experiments.tracking.run import BATCH_POINTS, Recorder, RunHandle
from experiments.tracking.system import Sampler

OFF = ["tracking.mongo=off"]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    tracking: TrackingSettings = TrackingSettings()


@pytest.fixture
def obey(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a function as the main command of an experiment; gives the run's directory."""
    monkeypatch.chdir(tmp_path)

    def run(function: Callable[[Any, RunHandle], Any], *words: str) -> Path:
        experiment = Experiment("ex_made", Settings, {})
        function.__name__ = "main"
        experiment.main(function)
        experiment.run_commandline(["ex_made.py", *words, "with", *([] if "OSTINATO_MONGO_URL" in os.environ else OFF)])
        (directory,) = tmp_path.glob("runs/2*")
        return directory

    return run


def points(directory: Path, name: str) -> list[list[float]]:
    return [p for r in read(directory) if r["kind"] == "metrics" and r["name"] == name for p in r["points"]]


def information(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in read(directory):
        if record["kind"] == "info":
            found |= record["set"]
    return found


def test_values_that_break_other_observers(
    obey: Callable[..., Path],
    nasty: dict[str, tuple],
    database: Database,
    mongo_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of them as metric, information, artifact and result: the run is completed and names the offender."""
    monkeypatch.setenv("OSTINATO_MONGO_URL", f"{mongo_url.rpartition('/')[0]}/{database.name}")

    def main(settings: Settings, run: RunHandle) -> dict[str, Any]:
        for name, (value, _) in nasty.items():
            run.log_scalar(f"bad/{name}", value, 0)
            run.log_scalar("train/loss", 0.5, value)
            run.set_info(**{name: value})
            run.add_artifact(run.directory / f"missing {name}.png")
        run.set_info(cyclic=cyclic(), metrics="taken", big="x" * 20_000_000)
        run.log_scalar("good/after", 1.5, 7)
        return {name: value for name, (value, _) in nasty.items()}

    directory = obey(main)
    assert end_of(directory)["status"] == "COMPLETED"
    assert [(step, value) for step, value, _ in points(directory, "good/after")] == [(7, 1.5)]
    document = database.runs.find_one()
    assert document["status"] == "COMPLETED"
    assert document["info"]["path"] == "a/b"
    assert document["info"]["metrics_"] == "taken"
    assert document["info"]["large integer"] == str(2**63)
    assert document["result"]["enum"] == "RED"
    said = repr(document["info"]["tracking"])
    for name in ("bad/tensor", "bad/path", "missing path.png", "big"):
        assert name.replace(".", ",") in said
    (after,) = database.metrics.find({"name": "good/after"})
    assert after["values"] == [1.5]


def cyclic() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def test_numbers_of_every_kind_become_floats(obey: Callable[..., Path]) -> None:
    def main(settings: Settings, run: RunHandle) -> None:
        values = (1, True, np.float32(2.5), np.int64(3), torch.tensor(4.0), torch.tensor([5]), np.array([[6.0]]), 2**70)
        for value in values:
            run.log_scalar("train/kinds", value)
        run.log_scalar("dotted.name", 1.0, torch.tensor(3))

    directory = obey(main)
    expected = [(0, 1.0), (1, 1.0), (2, 2.5), (3, 3.0), (4, 4.0), (5, 5.0), (6, 6.0), (7, float(2**70))]
    assert [(step, value) for step, value, _ in points(directory, "train/kinds")] == expected
    assert [(step, value) for step, value, _ in points(directory, "dotted_name")] == [(3, 1.0)]


def test_nonfinite_values_are_counted_and_announced_once(
    obey: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def main(settings: Settings, run: RunHandle) -> None:
        for step, value in enumerate([1.0, math.nan, 0.5, math.inf, torch.tensor(-math.inf), np.float32("nan"), 0.25]):
            run.log_scalar("train/loss", value, step)
        run.log_scalar("val/loss", math.nan, 6)

    directory = obey(main)
    assert [(step, value) for step, value, _ in points(directory, "train/loss")] == [(0, 1.0), (2, 0.5), (6, 0.25)]
    assert points(directory, "val/loss") == []
    assert information(directory)["info.nonfinite"] == {
        "train/loss": {"count": 4, "first": 1, "last": 5},
        "val/loss": {"count": 1, "first": 6, "last": 6},
    }
    assert [(step, value) for step, value, _ in points(directory, "health/nonfinite")] == [
        (1, 1.0), (3, 2.0), (4, 3.0), (5, 4.0), (6, 5.0),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert said.count("left out of the curve") == 1
    assert "train/loss is nan at step 1" in said


def test_files_are_kept_as_they_were(obey: Callable[..., Path], tmp_path: Path) -> None:
    def main(settings: Settings, run: RunHandle) -> None:
        picture = tmp_path / "curve.png"
        for content in (b"first", b"second"):
            picture.write_bytes(content)
            run.add_artifact(picture, "plots/curve.png")
        picture.unlink()
        checkpoint = run.directory / "model.ckpt"
        checkpoint.write_bytes(b"12345")
        run.register_checkpoint(checkpoint, epoch=1, step=10, score=0.5, best=True)

    directory = obey(main)
    assert (directory / "files" / "plots_curve.png").read_bytes() == b"second"
    (checkpoint,) = [record for record in read(directory) if record["kind"] == "checkpoint"]
    assert (checkpoint["path"], checkpoint["bytes"], checkpoint["score"], checkpoint["best"]) == (
        "model.ckpt", 5, 0.5, True,
    )  # fmt: skip


def test_points_reach_the_disk_while_the_run_goes_on(journal: Journal) -> None:
    recorder = Recorder(journal)
    for step in range(BATCH_POINTS):
        recorder.log_scalar("train/loss", 0.5, step)
    assert len(points(journal.directory, "train/loss")) == BATCH_POINTS


def test_information_is_written_when_it_changes(journal: Journal) -> None:
    recorder = Recorder(journal)
    seen: list[dict[str, Any]] = []
    recorder.on_info = seen.append
    for _ in range(3):
        recorder.info({"best": {"value": 1}})
    recorder.info({"best": {"value": 2}, "epochs": {}})
    assert [record["set"] for record in read(journal.directory)] == [
        {"info.best": {"value": 1}},
        {"info.best": {"value": 2}, "info.epochs": {}},
    ]
    assert seen[-1] == {"best": {"value": 2}, "epochs": {}}


def test_workers_cannot_record_and_are_told(journal: Journal, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    run = RunHandle(journal.directory, 0, Recorder(journal))
    child = os.fork()
    if child == 0:
        run.log_scalar("train/loss", 1.0, 0)
        run.set_info(a=1)
        told = [record.message for record in caplog.records]
        (tmp_path / "told").write_text("\n".join(told))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run.flush()
    assert list(read(journal.directory)) == []
    told = f"run {journal.key}: log_scalar is not recorded from a worker process; return the value to the main process"
    assert (tmp_path / "told").read_text() == told


def started(journal: Journal, **more: Any) -> JournalObserver:
    """An observer that has seen the start of a run."""
    observer = JournalObserver(Recorder(journal), {}, {}, **more)
    now = datetime.datetime(2024, 5, 6, 7, 8)
    observer.started_event({"name": "ex"}, "main", {}, now, {"seed": 1}, {"comment": "c"}, None)
    return observer


def test_times_are_utc(journal: Journal) -> None:
    started(journal)
    (record,) = read(journal.directory)
    expected = datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.UTC).timestamp()
    assert record["document"]["start_time"] == expected
    assert record["document"]["meta"]["comment"] == "c"


def test_no_event_raises(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("no sensor")

    observer = started(journal, sample=broken, before_end=broken)
    now = datetime.datetime(2024, 5, 6, 8, 0)
    observer.heartbeat_event({}, "", now, None)
    observer.completed_event(now, {"a": 1})
    observer.interrupted_event(now, "INTERRUPTED")  # a signal that comes too late
    assert end_of(journal.directory)["status"] == "COMPLETED"
    assert len([record for record in read(journal.directory) if record["kind"] == "end"]) == 1
    assert "no sensor" in caplog.text


def test_heartbeats_carry_what_gathered(journal: Journal) -> None:
    observer = started(journal, sample=Sampler(lambda: {"cpu_percent": 50.0}))
    observer._recorder.log_scalar("train/loss", 0.5, 0)
    observer.heartbeat_event({}, "", datetime.datetime(2024, 5, 6, 8, 0), {"val": {"map": np.float64(0.5)}})
    kinds = [record["kind"] for record in read(journal.directory)]
    assert kinds == ["start", "info", "metrics", "beat"]
    assert information(journal.directory)["info.system"] == {"cpu_percent": {"peak": 50.0, "mean": 50.0}}
    assert list(read(journal.directory))[-1]["set"] == {"result": {"val/map": 0.5}}


def test_sampler_keeps_peak_and_mean() -> None:
    values = iter([1.0, 5.0, 3.0])
    sampler = Sampler(lambda: {"ram_gb": next(values)})
    sampler()
    sampler()
    assert sampler() == {"ram_gb": {"peak": 5.0, "mean": 3.0}}


def test_sampler_measures_this_process() -> None:
    measured = Sampler()()
    assert measured["ram_gb"]["peak"] > 0.01
    assert measured["cpu_percent"]["mean"] >= 0


@pytest.mark.parametrize("told", [True, False])
def test_sampler_measures_the_gpu_as_far_as_it_tells(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    def utilization() -> int:
        if not told:
            raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")
        return 87

    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        mem_get_info=lambda: (2**30, 4 * 2**30),
        utilization=utilization,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    measured = Sampler()()
    assert measured["gpu_memory_gb"]["peak"] == 3.0
    assert measured.get("gpu_percent") == ({"peak": 87.0, "mean": 87.0} if told else None)


def test_other_observers_get_no_secrets() -> None:
    seen: dict[str, Any] = {}

    class Other(RunObserver):
        priority = 3

        def failed_event(self, fail_time: Any, fail_trace: Any) -> None:
            seen["trace"] = fail_trace

    masked = MaskedObserver(Other(), lambda value: ["***"] if isinstance(value, list) else value)
    masked.failed_event(fail_time=1, fail_trace=["a secret"])
    assert seen == {"trace": ["***"]}
    assert masked.priority == 3
    assert set(EVENTS) <= set(vars(masked))


@pytest.mark.parametrize(
    ("result", "flat"),
    [
        (None, None),
        (0.5, 0.5),
        ({"val": {"map": np.float32(0.5)}, "n": 3}, {"val/map": 0.5, "n": 3}),
        ({"test": {"a": {"b": 1}, "c": [1, 2]}}, {"test/a/b": 1, "test/c": [1, 2]}),
        ({"empty": {}}, {"empty": {}}),
    ],
)
def test_results_are_flat(result: Any, flat: Any) -> None:
    assert flat_result(result) == flat


def test_lines_of_our_rooms_are_shown_and_those_of_others_when_they_matter(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.tracking.console import set_up_logging

    set_up_logging()
    logging.getLogger("experiments.tracks.data").info("of ours")
    logging.getLogger("matplotlib.font_manager").info("of theirs")
    logging.getLogger("matplotlib.font_manager").warning("careful")
    said = capsys.readouterr().err
    assert "of ours" in said
    assert "careful" in said
    assert "of theirs" not in said
