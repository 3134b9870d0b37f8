"""The command itself, in real processes: help, errors in one line, a full disk, kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from datasets.store import Store, StoreError
from models.frontends import build, names
from preprocess import build_store
from preprocess.__main__ import main
from preprocess.features import track_features

ROOT = Path(__file__).parents[2]
PATIENCE = 240  # seconds, of a test with a process on a slow machine
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "preprocess", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def many(tmp_path: Path, kick: Path) -> Path:
    """300 tracks of 10 s: the same file under many names."""
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "000.mp3").write_bytes(kick.read_bytes())
    for number in range(1, 300):
        (folder / f"{number:03d}.mp3").hardlink_to(folder / "000.mp3")
    return folder


def test_help_shows_defaults_without_loading_torch():
    code = (
        "import sys; from preprocess.__main__ import main\n"
        "try: main(['--help'])\nfinally: print('torch' in sys.modules)"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    for text in ("AUDIO_DIR", "(default: musicnn)", "(default: -1)", "--scheduler tcp://HOST:8786"):
        assert text in done.stdout
    assert done.stdout.endswith("False\n")


def test_says_what_was_done_and_what_comes_next(tmp_path: Path, kick: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "kick.mp3").write_bytes(kick.read_bytes())
    (tmp_path / "in" / "words.mp3").write_text("words " * 1000)
    (tmp_path / "in" / "tracks.csv").write_text("path")
    done = command(tmp_path / "in", tmp_path / "store")
    assert done.returncode == 0
    assert "1 tracks written (0.00 hours of audio), 0 already there, 1 skipped" in done.stdout
    assert "1 not audio, or damaged, for instance words.mp3" in done.stdout
    assert "skipped.csv" in done.stdout
    assert "not audio: 1 .csv" in done.stdout
    assert "next: python ex_pretrain.py" in done.stdout
    assert done.stderr == ""  # not a terminal, and less than a minute
    again = command(tmp_path / "in", tmp_path / "store", "--quiet")
    assert "0 tracks written (0.00 hours of audio), 1 already there, 1 skipped" in again.stdout
    assert again.stderr == ""
    os.utime(tmp_path / "in" / "kick.mp3", ns=(1, 1))
    assert "To read changed files again give another STORE_DIR" in command(tmp_path / "in", tmp_path / "store").stdout


OWN_FRONT_END = """
import torch
from models.frontends import FrontEnd

class Peaks(FrontEnd):
    sample_rate, hop, context, item_shape, fill = 8000, 400, 200, (1,), -1.0

    def forward(self, audio):
        self.check(audio)
        padded = torch.nn.functional.pad(audio, (self.context, self.hop))
        return padded.unfold(-1, self.hop, self.hop)[..., : self.n_frames(audio.shape[-1]), :].amax(-1, keepdim=True)
"""


def test_a_front_end_of_the_users_own_makes_a_store(tmp_path: Path, many: Path):
    (tmp_path / "peaks_module.py").write_text(OWN_FRONT_END)
    line = [sys.executable, "-m", "preprocess", str(many), "store", "--frontend", "peaks_module:Peaks", "--jobs", "2"]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "store")
    assert (len(store.ids), store.header.item_shape, store.header.fill) == (300, (1,), -1.0)
    assert store.header.producer["front_end"] == "peaks_module:Peaks"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("empty", "store", "--frontend", "no_such_module:Peaks"), "there is no module no_such_module"),
        (("missing", "store"), "no such folder"),
        (("empty", "store"), "no audio file in this folder"),
        (("empty", "store", "--frontend", "mel"), f"known front ends are {', '.join(names())}"),
        (("empty", "store", "--backend", "dask"), "--scheduler tcp://HOST:8786"),
        (("empty", "store", "--backend", "nonsense"), "nonsense"),
    ],
)
def test_mistakes_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
):
    (tmp_path / "empty").mkdir()
    folders = [str(tmp_path / name) for name in arguments[:2]]
    assert main([*folders, *arguments[2:]]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_done(many: Path, tmp_path: Path):
    """A limit on the size of files stands in for the disk: writing fails in the middle of a shard either way."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from preprocess.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", code, str(many), str(tmp_path / "store"), "--jobs", "1", "--quiet"]
    done = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "has no room for" in done.stderr
    assert done.stderr.count("\n") == 1
    kept = len(Store(tmp_path / "store"))
    assert kept == 8  # of 120 kB each
    ids = [path.name for path in sorted(many.iterdir())[:20]]
    report = build_store(many, tmp_path / "store", jobs=1, ids=ids, progress=False)
    assert (report.already, report.written, report.decoded) == (kept, 20 - kept, 20 - kept)


def is_worker(process: psutil.Process) -> bool:
    """Whether this is one of joblib's, not a helper that may have ended since it was listed."""
    try:
        return "LokyProcess" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_killed_before_its_workers_were_given_anything_it_leaves_none(many: Path, tmp_path: Path):
    line = [sys.executable, "-m", "preprocess", str(many), str(tmp_path / "store"), "--jobs", "2", "--quiet"]
    with subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT) as process:
        workers: list[psutil.Process] = []
        while not any(map(is_worker, workers)):
            assert process.poll() is None
            workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []


def test_killed_at_any_moment_it_goes_on_without_doing_anything_twice(many: Path, tmp_path: Path):
    line = [sys.executable, "-m", "preprocess", str(many), str(tmp_path / "store"), "--jobs", "2", "--quiet"]
    with subprocess.Popen(line, cwd=ROOT, env=ENVIRONMENT) as process:
        deadline = time.monotonic() + PATIENCE
        while committed(tmp_path / "store") == 0 and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was committed"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == [], "workers outlive the process that was killed"
    kept = committed(tmp_path / "store")
    assert 0 < kept < 300
    report = build_store(many, tmp_path / "store", jobs=1, progress=False)
    assert (report.already, report.written, report.decoded) == (kept, 300 - kept, 300 - kept)
    store, expected = Store(tmp_path / "store"), track_features(many / "000.mp3", build("musicnn")).frames
    assert len(store) == 300
    for id in store.ids:
        np.testing.assert_array_equal(store.read(id), expected)


def committed(store: Path) -> int:
    """Tracks that a reader sees; 0 before there is a store."""
    try:
        return len(Store(store))
    except StoreError:
        return 0


def test_clmr_stands_for_audio_at_its_rate_of_a_folder_or_a_corpus(tmp_path: Path, kick: Path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    for name in ("jazz.00054.mp3", "other.mp3"):
        (folder / name).write_bytes(kick.read_bytes())
    assert main(["clmr", str(folder), str(tmp_path / "any"), "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert (
        f"next: python ex_pretrain.py with clmr_pretrain datamodule.base_dir={tmp_path / 'any'} trainer.max_epochs"
        in said
    )
    assert main([str(folder), str(tmp_path / "other"), "--audio", "22050", "--jobs", "1"]) == 0
    assert "with NETWORK datamodule.base_dir" in capsys.readouterr().out
    assert main(["clmr", "gtzan", str(folder), str(tmp_path / "gtzan"), "--jobs", "1", "--max-missing", "1"]) == 0
    assert "1 of 930 recordings" in capsys.readouterr().out
    stores = [Store(tmp_path / name) for name in ("any", "gtzan")]
    assert [store.ids for store in stores] == [["jazz.00054.mp3", "other.mp3"], ["jazz.00054"]]
    for store in stores:
        assert (store.header.kind, store.header.dtype, store.header.producer["sample_rate"]) == (
            "audio",
            "int16",
            22_050,
        )
    assert np.array_equal(stores[0].read("jazz.00054.mp3"), stores[1].read("jazz.00054"))
    with pytest.raises(SystemExit):
        main(["clmr", str(folder), str(tmp_path / "any"), "--audio", "16000"])
