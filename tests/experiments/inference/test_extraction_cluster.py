"""An extraction on a Dask cluster of real processes gives what one process gives, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Store, StoreError, StoreWriter
from datasets.windows import Plan
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header
from experiments.windowing import Windowing
from preprocess.cluster import connected

pytest.importorskip("distributed")
BANDS, FRAMES = 4, 10


class Sums:
    """Sums of windows; the process that has the other number ends itself in the middle."""

    def __init__(self, dies: int = 0) -> None:
        self.dies, self.batches = dies, 0

    def __call__(self, clips):
        self.batches += 1
        if os.getpid() == self.dies and self.batches > 3:
            os.kill(self.dies, signal.SIGKILL)
        sums = clips.float()[:, :, 0].sum(dim=1)
        sums = (sums / (sums != 40.0))[:, None].half().numpy()  # infinite for windows of track 3
        return [sums, -sums]


@pytest.fixture
def mels(tmp_path: Path) -> Store:
    """40 tracks of 3 to 60 frames; every value of a track is the track's number."""
    with StoreWriter(tmp_path / "mels", header("mel", (BANDS,), "number", {})) as writer:
        for number in range(40):
            length = [57, 3, 10, 25, 31, 9, 60, 12][number % 8]
            track = np.full((length, BANDS), number + 1, np.float16)
            writer.append(f"{number:02d}.ogg", track, f"{number}.wav", number / 2)
    return Store(tmp_path / "mels")


def outputs(folder: Path) -> list[Output]:
    made = [header("logits", (1,), "", {"net": name}) for name in ("sum", "negative")]
    return [Output(folder / "sums", made[0]), Output(folder / "negative", made[1])]


def job(mels: Store, hop: int, sums: Sums, folder: Path) -> Job:
    return Job(mels, Windowing(FRAMES, Plan(FRAMES, hop), 1.0), sums, outputs(folder), 3)


def test_a_worker_is_killed_and_the_stores_are_those_of_one_process(
    mels: Store, tmp_path: Path, dask_processes, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where a relative path of the store is not that of the workers
    near = Store(Path("mels"))
    ids = [*mels.ids, "gone.ogg"]
    alone = extract(job(mels, 5, Sums(), tmp_path / "one"), ids)
    dask_processes.scheduler()
    dies = dask_processes.worker("--no-nanny")
    dask_processes.worker("--no-nanny")
    with connected(
        dask_processes.address, "inference.scheduler", "experiments.inference.extraction_cluster"
    ) as cluster:
        while cluster.threads() < 2:
            assert dies.poll() is None, dask_processes.log
        spread = extract(job(near, 5, Sums(dies.pid), Path("many")), ids, cluster)
        assert dies.wait(60) == -signal.SIGKILL
        again = extract(job(near, 5, Sums(), Path("many")), ids, cluster)
        near.path = tmp_path / "elsewhere"
        with pytest.raises(StoreError, match=r"elsewhere: no such folder on .*same path on every machine"):
            extract(job(near, FRAMES, Sums(), tmp_path / "broken"), ids, cluster)
    assert spread == alone
    assert {identity for identity, _ in alone.skipped} == {"03.ogg", "gone.ogg"}
    assert (again.written, again.already) == (0, 39)
    for name in ("sums", "negative"):
        one, many = Store(tmp_path / "one" / name), Store(tmp_path / "many" / name)
        assert one.ids == many.ids
        for id in one.ids:
            np.testing.assert_array_equal(one.read(id), many.read(id))
            assert {**one.row(id), "shard": "", "offset": 0} == {**many.row(id), "shard": "", "offset": 0}
        skipped = [(tmp_path / folder / name / "skipped.csv").read_text() for folder in ("one", "many")]
        assert skipped[0] == skipped[1]
