"""A head on a frozen encoder by the commands a user types, beside the same training written out in torch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import soundfile
import torch
from torch import nn
from torch.nn import functional as F

from datasets.samplers import EpochSampler
from datasets.store import Store
from experiments.configs.catalogue import TRANSFER
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.tracking import overrides
from experiments.transfer.settings import TransferSettings
from models.checkpoints import save_network
from models.clmr import CLMR
from models.frontends import build

ROOT = Path(__file__).resolve().parents[3]
RATE, WINDOW = 22_050, 3 * 3**5 * 2**4
NARROW = {"channels": [4] * 10 + [12], "strides": [3] * 5 + [2] * 4}  # windows of half a second
TAGS = ("low", "high", "loud")
SPLITS = ["train"] * 20 + ["valid"] * 8 + ["test"] * 8
LR, BATCH = 0.2, 8  # a rate at which validation gets worse again
WORDS = ["datamodule.base_dir=audio", f"module.optimizer.lr={LR}", f"datamodule.batch_size_train={BATCH}"]
LINEAR = ["clmr_linear", *WORDS, "model.checkpoint=encoder.safetensors"]


def run(*words: str) -> dict:
    from ex_transfer import ex

    return ex.run_commandline([str(ROOT / "ex_transfer.py"), *words, "tracking.mongo=off"])


def train(*words: str) -> tuple[Path, dict]:
    before = set(Path("runs").glob("[0-9]*"))
    result = run("with", *words)
    (folder,) = set(Path("runs").glob("[0-9]*")) - before
    return folder, result


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A working directory with tones of several lengths, tagged, and an encoder without outputs."""
    folder, rng = tmp_path_factory.mktemp("frozen"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("audio").mkdir()
        rows = []
        for number, split in enumerate(SPLITS):
            high, loud = number % 2, number % 3 == 0
            samples = [WINDOW, 3 * WINDOW, WINDOW // 2, 5 * WINDOW + 700][number % 4]
            tone = np.sin(np.arange(samples) * (0.1 + 0.9 * high + 0.05 * rng.random()))
            audio = (0.8 if loud else 0.1) * tone + 0.05 * rng.standard_normal(samples)
            stereo = np.stack([audio, audio], 1) if number == 1 else audio
            soundfile.write(f"audio/{number:02d}.wav", stereo, RATE, subtype="PCM_16")
            tags = ["high" if high else "low", *(["loud"] if loud else [])] if number != 4 else []
            rows.append([f"{number:02d}.wav", split, "|".join(tags) or "[]", "high" if high else "low"])
        with Path("audio/tracks.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "split", "tags", "genre"], *rows])
        torch.manual_seed(1)
        encoder = CLMR(n_classes=0, **NARROW)
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_var.fill_(0.1)
        about = {"task": None, "labels": [], "frontend": build("waveform", sample_rate=RATE).description}
        save_network(Path("encoder.safetensors"), encoder, about)
        yield folder


@pytest.fixture(scope="module")
def linear() -> tuple[Path, dict]:
    return train(*LINEAR, "trainer.max_epochs=60")


def stores() -> dict[str, Store]:
    found = [Store(folder) for folder in Path("outputs/encoded").glob("*")]
    return {"crop" if "crop_seed" in store.header.producer else "windows": store for store in found}


def tracks(split: str) -> list[list[str]]:
    with Path("audio/tracks.csv").open(newline="") as file:
        return [row for row in list(csv.reader(file))[1:] if row[1] == split]


def targets(split: str, labels: list[str]) -> torch.Tensor:
    return torch.tensor([[float(label in row[2].split("|")) for label in labels] for row in tracks(split)])


def written_out(x, y, valid_x, valid_y, head: nn.Linear, epochs: int) -> tuple[dict[str, torch.Tensor], int, int]:
    """Section 2 of the protocol: Adam, plateaus, the end after ten, the best weights; also the best and last epoch."""
    optimizer = torch.optim.Adam(head.parameters(), lr=LR, weight_decay=1e-6)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=5, threshold=1e-4)
    order, best, weights, best_epoch, waited = EpochSampler(np.ones(len(x)), len(x), seed=0), np.inf, {}, 0, 0
    for epoch in range(epochs):
        order.set_epoch(epoch)
        drawn = [track for track, _ in order]
        for start in range(0, len(x), BATCH):
            batch = drawn[start : start + BATCH]
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(head(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(F.binary_cross_entropy_with_logits(head(valid_x), valid_y))
        plateau.step(loss)
        if loss < best:
            best, best_epoch, waited = loss, epoch, 0
            weights = {name: value.clone() for name, value in head.state_dict().items()}
        else:
            waited += 1
        if waited == 10:
            break
    return weights, best_epoch, epoch


def test_the_head_is_that_of_the_protocol_written_out(linear):
    folder, _ = linear
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    labels, store = state["hyper_parameters"]["labels"], stores()["crop"]
    assert set(labels) == set(TAGS)
    x, valid_x = (
        torch.from_numpy(np.concatenate([store.read(row[0]) for row in tracks(split)])) for split in ("train", "valid")
    )
    assert x.shape == (20, 12)
    L.seed_everything(0, verbose=False)
    head = CLMR(n_classes=len(labels), **NARROW).dense
    weights, best, last = written_out(x, targets("train", labels), valid_x, targets("valid", labels), head, 60)
    assert best < last < 59
    for name, value in weights.items():
        torch.testing.assert_close(state["state_dict"][f"net.dense.{name}"], value, atol=1e-5, rtol=1e-5)
    frozen = Encoder.load("encoder.safetensors").network.state_dict()
    for name, value in frozen.items():
        if not name.startswith("dense."):
            torch.testing.assert_close(state["state_dict"][f"net.{name}"], value, atol=0, rtol=0)
    newest = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["net.dense.weight"]
    assert not torch.equal(newest, state["state_dict"]["net.dense.weight"])


def test_the_vectors_are_those_of_the_encoder_in_evaluation_mode(linear):
    encoder, crops, windows = Encoder.load("encoder.safetensors"), stores()["crop"], stores()["windows"]
    for split, store in (("train", crops), ("test", windows)):
        for row in tracks(split):
            audio, rate = soundfile.read(Path("audio") / row[0], dtype="float32")
            embedded = encoder.embed(audio.T, rate)["layer11"][:, 0]
            stored = store.read(row[0])
            if store is windows or len(audio) <= WINDOW:
                np.testing.assert_allclose(stored, embedded, atol=1e-4, rtol=1e-4)
            else:
                assert len(stored) == 1
    lengths = {row[0]: len(windows.read(row[0])) for row in tracks("test")}
    assert lengths["28.wav"] == 1  # exactly a window
    assert lengths["29.wav"] == 3  # the last of an exact multiple is kept
    assert lengths["30.wav"] == 1  # half a window, centred in silence
    assert lengths["31.wav"] == 5  # a rest of less than nine tenths is left out


def test_the_file_is_the_whole_network_and_scores_as_at_the_end(linear):
    folder, result = linear
    again = run("evaluate", "with", f"inference.checkpoint={folder}", "datamodule.base_dir=audio")
    for metric in ("roc_auc", "ap"):
        assert again[f"test/{metric}"] == pytest.approx(result[f"test/{metric}"], abs=1e-6)
        assert result[f"test/{metric}_low"] <= result[f"test/{metric}"] <= result[f"test/{metric}_high"]
    encoder = Encoder.load(str(folder))
    predicted = {row["track"]: row for row in csv.DictReader((folder / "predictions_test.csv").open())}
    for row in tracks("test"):
        audio, rate = soundfile.read(Path("audio") / row[0], dtype="float32")
        logits = encoder.network.dense(torch.from_numpy(encoder.embed(audio.T, rate)["layer11"][:, 0]))
        mean = logits.sigmoid().mean(0).tolist()
        assert [float(predicted[row[0]][name]) for name in encoder.labels] == pytest.approx(mean, abs=1e-4)


def test_the_split_and_the_averages_are_reported(linear, capfd):
    folder, result = linear
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    (data,) = (one["set"]["info.data"] for one in records if "info.data" in one.get("set", {}))
    assert data["tracks"] == {"train": 20, "valid": 8, "test": 8}
    assert data["untagged"] == {"train": 1, "valid": 0, "test": 0}
    rows = {(row["averaged"], row["metric"]): row for row in csv.DictReader((folder / "averages.csv").open())}
    assert {averaged for averaged, _ in rows} == {"probabilities", "logits", "embeddings"}
    assert float(rows["probabilities", "ap"]["value"]) == pytest.approx(result["test/ap"], abs=1e-6)
    assert float(rows["logits", "ap"]["value"]) == float(rows["embeddings", "ap"]["value"])


def test_encoded_tracks_are_taken_by_other_heads_and_all_windows_are_validated_by_tracks(linear, capfd):
    capfd.readouterr()
    words = ["clmr_mlp_all_windows", *WORDS, "model.checkpoint=encoder.safetensors", "model.hidden=6"]
    folder, result = train(*words, "trainer.max_epochs=2")
    said = capfd.readouterr().err
    assert "encoded, all windows: 28 now, 8 before, 0 skipped" in said
    assert {"val/ap", "val/loss", "test/ap_of_logits", "test/ap_of_embeddings"} <= result.keys()
    encoder = Encoder.load(str(folder))
    assert [type(part) for part in encoder.network.dense] == [nn.Linear, nn.ReLU, nn.Linear]
    assert encoder.network.hyperparameters["hidden"] == 6
    audio, rate = soundfile.read("audio/03.wav", dtype="float32")
    assert set(encoder.predict(audio, rate).probabilities) == set(TAGS)


@pytest.mark.parametrize("scale", ["demo", "debug"])
def test_a_scale_takes_the_demo_corpus(scale):
    words = ("model.checkpoint=encoder.safetensors", "clmr_mlp_gtzan")
    given = overrides.compose(TransferSettings, TRANSFER, words).settings
    assert (given.datamodule.base_dir, given.datamodule.task) == ("data/gtzan/audio_22050", "genre")
    small = overrides.compose(TransferSettings, TRANSFER, (scale, *words)).settings
    assert (small.datamodule.base_dir, small.datamodule.task) == (None, "genre")
    assert (small.model.network, small.model.hidden, small.model.strides) == ("clmr", 512, NARROW["strides"])
    for key in ("kind", "lr", "weight_decay", "schedule_mode", "plateau_factor", "plateau_patience"):
        assert getattr(small.module.optimizer, key) == getattr(given.module.optimizer, key)


def test_classes_are_learned_by_their_softmax(linear):
    _, result = train(*LINEAR, "datamodule.task=genre", "trainer.max_epochs=2")
    assert 0 <= result["test/accuracy_low"] <= result["test/accuracy"] <= result["test/accuracy_high"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clmr_linear"], r"module\.encode=crop needs an encoder: model\.checkpoint=runs/KEY"),
        ([*LINEAR, "module.freeze=2"], r"module\.encode=crop with module\.freeze=2: .*set freeze=all"),
        ([*LINEAR, "module.mixup_alpha=0.3"], r"module\.encode=crop with module\.mixup_alpha=0\.3: each track is"),
        ([*LINEAR, "trainer.devices=2"], "a head takes one process"),
    ],
)
def test_what_does_not_go_together_is_named(words, message):
    with pytest.raises(UserError, match=message):
        overrides.compose(TransferSettings, TRANSFER, words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("datamodule.clip_length=1", "this network takes windows of"),
        ("datamodule.split_shares=[0.9,0.0,0.1]", "no tracks in split valid"),
    ],
)
def test_what_cannot_be_is_named(word, message, capfd):
    with pytest.raises(SystemExit):
        run("with", *LINEAR, "datamodule.splits=hashed", word)
    assert message in capfd.readouterr().err
