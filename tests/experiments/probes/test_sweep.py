"""Sweeps shared out by joblib, and gone on with after they were ended."""

from __future__ import annotations

from dataclasses import replace

import joblib
import numpy as np
import pytest

from experiments.errors import UserError
from experiments.probes import sweep as sweeping
from experiments.probes.experiment import workers
from experiments.probes.sweep import Workers, seeds_of, sweep, thinned
from experiments.probes.sweep_files import Problem, SweepFiles
from experiments.settings import ProbeSettings
from experiments.tasks import Genre
from models.probes.grids import points
from tests.experiments.probes.one_by_one import best, search
from tests.experiments.probes.toy_problems import TASK, two_problems

GRID = points(
    hidden=[None, 8], learning_rate=[1e-3, 1e-1], dropout=[0.0, 0.5], evaluate_every=[2], patience=[3], max_steps=[20]
)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return two_problems(GRID)


def same(outcomes, others) -> None:
    for one, other in zip(outcomes, others, strict=True):
        assert one.records == other.records
        assert one.probe.config == other.probe.config
        for name, weight in one.probe.weights.items():
            np.testing.assert_array_equal(weight, other.probe.weights[name])


@pytest.fixture(scope="module")
def outcomes(problems, tmp_path_factory):
    return sweep(problems, tmp_path_factory.mktemp("sweeps"))


def test_a_sweep_chooses_as_one_by_one(problems, outcomes):
    for problem, outcome in zip(problems, outcomes, strict=True):
        alone = search(TASK, problem.train, problem.valid, GRID, problem.seed)
        chosen = best(alone)
        assert [record.config for record in outcome.records] == list(GRID)
        assert outcome.probe.config == chosen.config
        assert len(outcome.tied) == sum(result.probe.value == chosen.value for result in alone)
        assert not outcome.failed
        np.testing.assert_allclose(outcome.probe.weights["0.weight"], chosen.weights["0.weight"], atol=2e-6)


def test_what_is_finished_is_not_trained_again_and_one_probe_is_kept(problems, outcomes, tmp_path, monkeypatch):
    counted: list[int] = []
    first = sweep(problems[:1], tmp_path, on_points=counted.append)
    same(first, outcomes[:1])
    assert counted[0] == 0
    assert sum(counted) == len(GRID)
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1
    monkeypatch.setattr(sweeping, "_train", None)
    again = sweep(problems[:1], tmp_path)
    same(again, outcomes[:1])
    assert again[0].reused == len(GRID)


def test_a_sweep_that_was_ended_goes_on_to_the_same_end(problems, outcomes, tmp_path, monkeypatch):
    train, calls = sweeping._train, []

    def ended(*arguments):
        calls.append(arguments[0])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(sweeping, "_train", ended)
    with pytest.raises(KeyboardInterrupt):
        sweep(problems, tmp_path, Workers(jobs=1))
    monkeypatch.setattr(sweeping, "_train", train)
    gone_on = sweep(problems, tmp_path)
    same(gone_on, outcomes)
    assert 0 < sum(outcome.reused for outcome in gone_on) < 2 * len(GRID)


def test_damaged_and_missing_files_are_made_again(problems, outcomes, tmp_path):
    sweep(problems[:1], tmp_path)
    for path in tmp_path.glob("*/*.safetensors"):
        path.write_bytes(b"torn")
    first = min(tmp_path.glob("*/*.json"))
    first.write_text(first.read_text()[:40])
    again = sweep(problems[:1], tmp_path)
    same(again, outcomes[:1])
    assert 0 < again[0].reused < len(GRID)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, seed=5),
        lambda p: replace(p, train=replace(p.train, x=p.train.x + np.float32(1e-3))),
        lambda p: replace(p, valid=replace(p.valid, y=(p.valid.y + 1) % TASK.n_outputs)),
        lambda p: replace(p, task=Genre([*TASK.classes[:-1], "other"])),
        lambda p: replace(p, train=replace(p.train, features={"fingerprint": "x"})),
    ],
)
def test_other_problems_have_other_files(problems, tmp_path, change):
    assert change(problems[0]).fingerprint != problems[0].fingerprint
    files = SweepFiles(tmp_path, problems[0])
    files.write([0], [], None)
    other = replace(problems[0], configs=tuple(replace(point, l2=0.5) for point in GRID))
    assert SweepFiles(tmp_path, other)._path([0]) != files._path([0])


def test_processes_come_to_the_same_end(problems, outcomes, tmp_path):
    same(sweep(problems, tmp_path, Workers(jobs=2)), outcomes)


def test_a_backend_of_the_user_is_used(problems, outcomes, tmp_path):
    import joblib

    with joblib.parallel_config(backend="threading", n_jobs=2):
        same(sweep(problems, tmp_path), outcomes)
    with pytest.raises(UserError, match=r"probe\.backend=lokyy"):
        sweep(problems, tmp_path / "x", Workers(backend="lokyy"))


def test_a_probe_that_diverges_is_counted_and_all_that_do_are_an_error(problems, tmp_path):
    wild = points(hidden=[8], learning_rate=[1e-3, 1e30], max_steps=[40], patience=[8])
    huge = replace(problems[0], configs=wild)
    (outcome,) = sweep([huge], tmp_path)
    assert [record.number for record in outcome.failed] == [1]
    assert "not finite" in outcome.failed[0].failure
    with pytest.raises(UserError, match=r"none of 1 probes could be trained: .*lower the learning rate"):
        sweep([replace(huge, configs=wild[1:])], tmp_path)


def test_curves_are_thinned_to_their_ends_and_best_step():
    curve = [(step, step % 7 / 7) for step in range(500)]
    kept = thinned(curve, 133, 24)
    assert len(kept) <= 24
    assert {0, 133, 499} <= {step for step, _ in kept}
    assert thinned(curve[:5], 0, 24) == tuple(curve[:5])


def test_seeds():
    assert seeds_of(None, 3) == [3]
    assert seeds_of(3, 3) == [3, 4, 5]
    assert seeds_of([2, 0, 2], 3) == [2, 0]


@pytest.mark.parametrize("workers", [1, 2], ids=["all that was sent is gone", "another one has it"])
def test_a_dask_cluster_comes_to_the_same_end_though_a_worker_is_killed(
    workers, problems, outcomes, tmp_path, dask_processes, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    dask_processes.scheduler()
    workers = [dask_processes.worker("--no-nanny") for _ in range(workers)]
    with distributed.Client(dask_processes.address) as client:
        client.wait_for_workers(len(workers), timeout=60)
    write = SweepFiles.write

    def killing(*arguments):
        if workers[0].poll() is None:
            workers[0].kill()
            workers[0].wait()
            dask_processes.worker("--no-nanny")
        write(*arguments)

    monkeypatch.setattr(SweepFiles, "write", killing)  # as soon as the first part is there
    same(sweep(problems, tmp_path, Workers(scheduler=dask_processes.address)), outcomes)
    assert workers[0].returncode < 0


def test_a_cluster_that_is_not_there_is_said(problems, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("preprocess.cluster.ANSWER", 0.5)
    with pytest.raises(UserError, match=r"probe\.scheduler=tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        sweep(problems, tmp_path, Workers(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(UserError, match=r"probe\.backend=dask: .*give probe\.scheduler"):
        sweep(problems, tmp_path, Workers(backend="dask"))


def test_a_long_sweep_takes_every_core_where_nobody_says_otherwise():
    assert workers(ProbeSettings(), 100_000).jobs == -1
    assert workers(ProbeSettings(), 100).jobs is None
    assert workers(ProbeSettings(jobs=1), 100_000).jobs == 1
    with joblib.parallel_config(n_jobs=2):
        assert workers(ProbeSettings(), 100_000).jobs is None
    assert workers(ProbeSettings(scheduler="tcp://127.0.0.1:8786"), 100_000).jobs is None
