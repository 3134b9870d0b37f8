"""Contrastive pre-training by its command on data that do not fit, on any folder, on a store: what it says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocess.__main__ import main as preprocess

SCRIPT = str(Path(__file__).resolve().parents[1] / "ex_pretrain.py")
RATE = 16_000  # Hz
SMALL = [
    "model.network=samplecnn",
    "model.channels=[4,4,4,4,4,4,4,4,4,4,4]",
    "model.strides=[2,2,2,2,2,2,2,2,2]",
    "module.objective=contrastive",
]
COMMON = ["trainer.max_epochs=1", "tracking.mongo=off", "datamodule.batch_size_train=4", "datamodule.jobs=1"]


def write(folder: Path, tracks: int, seconds: float = 1.0) -> Path:
    """A folder of noise."""
    folder.mkdir(parents=True)
    for number in range(tracks):
        samples = 0.1 * np.random.default_rng(number).standard_normal(int(seconds * RATE))
        soundfile.write(folder / f"{number}.wav", samples.astype(np.float32), RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with the data of this file."""
    folder = tmp_path_factory.mktemp("contrastive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_HOME", str(folder / "home"))
        patch.chdir(folder)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        write(folder / "music", 40)
        (folder / "empty").mkdir()
        (folder / "empty" / "notes.txt").write_text("no music")
        write(folder / "one", 1)
        write(folder / "few", 5)
        write(folder / "three", 3)
        write(folder / "short", 30, 0.3)
        for name, words in (("mels", []), ("other_rate", ["--audio", "22050"]), ("store", ["--audio", str(RATE)])):
            assert preprocess(["music", name, "--jobs", "1", "--quiet", *words]) == 0
        yield folder
        torch.set_num_threads(threads)


def train(*words: str, network: list[str] = SMALL) -> dict[str, float]:
    """Run the command in this process."""
    from ex_pretrain import ex

    return ex.run_commandline([SCRIPT, "with", *network, *COMMON, *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["datamodule.base_dir=empty"], "empty: no audio file in this folder, only 1 .txt"),
        (["datamodule.base_dir=one"], "contrastive learning tells tracks from each other, and 1 track is for training"),
        (["datamodule.base_dir=few"], "batch_size_train=4: only 3 tracks are for training"),
        (
            ["datamodule.base_dir=three"],
            "takes at least 2, as the training does: give datamodule.base_dir a folder",
        ),
        (
            ["datamodule.base_dir=few", "datamodule.split_shares=[1,0,0]"],
            "or let a hash choose them: datamodule.splits=",
        ),
        (
            [
                "datamodule.base_dir=short",
                "model.strides=[3,3,3,3,3,3,3,3,3]",
                "datamodule.split_shares=[0.7,0.3,0.0]",
            ],
            "training tracks are shorter than a crop of 59,049 samples (3.69 s): both views would be the same audio",
        ),
        (
            ["datamodule.base_dir=music", "datamodule.batch_size_train=1"],
            "datamodule.batch_size_train=1: contrastive learning tells the tracks of a batch from each other",
        ),
        (["datamodule.base_dir=music", "datamodule.batch_size_train=400"], "tracks are for training, and every track"),
        (
            ["datamodule.base_dir=music", "datamodule.batch_size_train=20", "trainer.devices=2"],
            "of them for each of 2 processes, and every track stands in a batch once: set it to 1",
        ),
        (["datamodule.base_dir=other_rate"], "holds audio at 22050 Hz, the front end waveform takes 16000 Hz"),
        (["datamodule.base_dir=mels"], "holds mel of MusiCNN log-mel, the network takes those of waveform"),
        (
            ["datamodule.base_dir=music", "module.augmentations=[{name: mixup, alpha: 0.3}]"],
            "mixup mixes examples and their labels; Contrastive has no labels",
        ),
        (
            ["datamodule.base_dir=music", "module.mixup_alpha=0.5"],
            "module.mixup_alpha=0.5 beside module.objective=contrastive, which has no labels to mix",
        ),
        (["datamodule.base_dir=music", "datamodule.groundtruth=none.csv"], "none.csv: no such table"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(words, message, place, capsys):
    with pytest.raises(SystemExit):
        train(*words)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in said


def test_features_have_no_waveforms_to_augment(place, capsys):
    with pytest.raises(SystemExit):
        train(
            "datamodule.base_dir=music",
            "datamodule.input=features",
            "datamodule.clip_length=0.5",
            "module.augmentations=[{name: polarity}]",
            network=["model.network=musicnn", "module.objective=contrastive"],
        )
    assert "polarity changes waveforms, and the input is stored features" in capsys.readouterr().err


def test_unreadable_files_are_skipped_counted_and_listed(place, tmp_path, capsys):
    folder = write(tmp_path / "faulty", 40)
    samples, _ = soundfile.read(folder / "0.wav", dtype="float32")
    samples[5] = np.nan
    soundfile.write(folder / "nan.wav", samples, RATE, subtype="FLOAT")
    (folder / "jazz.00054.wav").write_bytes(b"RIFF damaged")
    train(f"datamodule.base_dir={folder}", f"datamodule.store_dir={tmp_path / 'store'}")
    said = capsys.readouterr().err
    assert "2 files skipped, see" in said
    assert "python ex_transfer.py with clmr_linear model.checkpoint=" in said
    with (tmp_path / "store" / "skipped.csv").open(newline="") as file:
        assert {Path(row[0]).name for row in csv.reader(file)} >= {"nan.wav", "jazz.00054.wav"}


def test_splits_are_those_of_a_table_or_of_folders_and_labels_need_not_be_there(place, tmp_path, capsys):
    rows = "".join(
        f"{number}.wav,{'valid' if number < 9 else 'train'},{'high' if number % 2 else 'low'}\n" for number in range(40)
    )
    (tmp_path / "named.csv").write_text("path,split,genre\n" + rows)
    train("datamodule.base_dir=store", f"datamodule.groundtruth={tmp_path / 'named.csv'}")
    assert "store: 31 train, 9 valid tracks without labels" in capsys.readouterr().err
    write(tmp_path / "sorted" / "train", 8)
    write(tmp_path / "sorted" / "valid", 3)
    train(f"datamodule.base_dir={tmp_path / 'sorted'}", f"datamodule.store_dir={tmp_path / 'kept'}")
    assert "sorted: 8 train, 3 valid tracks without labels" in capsys.readouterr().err


def test_a_store_and_its_folder_give_the_same_training_preloaded_or_not(place):
    words = ["trainer.keep_every_n_epochs=1", "module.augmentations=[{name: gain}, {name: noise}]"]
    results = [train(f"datamodule.base_dir={name}", *words, *more) for name, more in (
        ("music", []), ("store", []), ("store", ["datamodule.preload=device", "trainer.checkpoint_dir=kept"])
    )]  # fmt: skip
    assert results[0] == results[1] == results[2]
    assert (place / "kept" / "epoch=1.ckpt").is_file()
