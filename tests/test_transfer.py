"""Transfer learning and kept probes by the commands a user types, on the tiny demo corpus."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from datasets.corpus import SPLITS, read_table
from datasets.store import Store, StoreWriter
from experiments.inference.extraction import header
from experiments.probes.fitted import FittedProbe
from experiments.probes.records import load_predictions, read_scores
from experiments.tasks import Emotion, Genre, Key, Tagging, Tempo, TempoRegression
from experiments.training.learner import Learner
from models.checkpoints import save_network
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.probes.grids import ProbeConfig

ROOT = Path(__file__).resolve().parents[1]
OFF = "tracking.mongo=off"
NARROW = {"n_classes": 2, "n_frames": 312, "dim": 32, "depth": 2, "heads": 2}


def run(script: str, *arguments: str) -> dict:
    """Run a command in this process, as `python script arguments` would; its result."""
    from ex_pretrain import ex as pretrain
    from ex_probe import ex as probe
    from ex_transfer import ex as transfer

    experiment = {"ex_pretrain.py": pretrain, "ex_probe.py": probe, "ex_transfer.py": transfer}[script]
    return experiment.run_commandline([str(ROOT / script), *arguments, OFF])


def encoder(file: str, seed: int) -> None:
    """A narrow network of random weights, as a file."""
    torch.manual_seed(seed)
    about = {"labels": ["one", "other"], "task": "tagging", "frontend": MusiCNNMel().fingerprint}
    save_network(Path(file), MAEST(**NARROW), about)


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tiny_mels, tmp_path_factory):
    """A working directory with two encoders, and the embeddings of the first."""
    folder = tmp_path_factory.mktemp("transfer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("audio").mkdir()
        for song in sorted((tiny_corpus / "audio").glob("*.flac"))[:6]:
            Path("audio", song.name).symlink_to(song)
        Path("mels").symlink_to(tiny_mels)
        Path("tracks.csv").write_bytes((tiny_corpus / "tracks.csv").read_bytes())
        encoder("encoder.safetensors", 0)
        encoder("other.safetensors", 1)
        words = ["inference.checkpoint=encoder.safetensors", "inference.transformer_block=[0,1]"]
        run(
            "ex_pretrain.py",
            "extract_embeddings",
            "with",
            *words,
            "inference.out_dir=stores",
            "datamodule.base_dir=mels",
        )
        yield folder


DATA = ["datamodule.base_dir=mels", "datamodule.groundtruth=tracks.csv"]
STORED = ["embeddings.store=stores", "embeddings.block=1", *DATA]
QUICK = ["demo", "trainer.max_epochs=4", "probe.hidden=24"]


@pytest.fixture(scope="module")
def trained(home):
    """The result of a training, the folder of its run, the file of its probe."""
    before = set(Path("runs").iterdir())
    words = [*QUICK, *STORED, "embeddings.tokens=[cls,dist]", "probe.file=kept/tags.safetensors"]
    result = run("ex_transfer.py", "with", *words)
    (folder,) = set(Path("runs").iterdir()) - before
    return result, folder, FittedProbe.load("kept/tags.safetensors")


def journal(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def known(folder: Path) -> dict:
    """The information of a run."""
    found = {}
    for record in journal(folder):
        found |= record["set"] if record["kind"] == "info" else {}
    return {name.removeprefix("info."): value for name, value in found.items()}


def vectors(ids: list[str], tokens: list[int]) -> np.ndarray:
    """Mean over windows, then over tokens, of stored embeddings of block 1."""
    store = Store("stores/block_01")
    return np.stack([store.read(one).astype(np.float64).mean(0)[tokens].mean(0) for one in ids]).astype(np.float32)


def documents(folder: str) -> dict[str, dict]:
    return {Path(one["audio"]).name: one for one in json.loads(Path(folder, "predictions.json").read_text())}


def test_training_leaves_a_probe_scores_with_intervals_pictures_and_predictions(trained):
    result, folder, probe = trained
    assert {"val/roc_auc", "test/ap", "test/roc_auc_low", "test/roc_auc_high"} <= result.keys()
    assert all(np.isfinite(value) for value in result.values())
    names = {record["name"] for record in journal(folder) if record["kind"] == "artifact"}
    assert {
        "curves.png",
        "per_class_test.csv",
        "predictions_test.csv",
        "scores.csv",
        "probe_tagging.safetensors",
    } <= names
    (score,) = read_scores(known(folder)["scores"])
    assert (score.task, score.block, score.metric, score.n) == ("tagging", 1, "roc_auc", 10)
    assert score.score == result["test/roc_auc"]
    assert score.low <= score.score <= score.high
    kept = load_predictions(folder / score.predictions)
    np.testing.assert_allclose(probe.predict(vectors(kept.ids, [0, 1])), kept.predictions, atol=1e-5)
    assert probe.task.score(kept.predictions, kept.references)["roc_auc"] == pytest.approx(score.score)
    assert probe.value == pytest.approx(max(value for _, value in probe.curve))


def test_what_to_run_next_names_the_encoder_that_is_not_published(trained):
    said = (trained[1] / "run.log").read_text()
    next_line = "predict with probe.file=kept/tags.safetensors inference.checkpoint=CHECKPOINT inference.audio"
    assert next_line in said
    assert said.index("test roc_auc") < said.index(next_line)


def test_the_probe_is_the_plain_network_of_the_recipe(trained):
    _, folder, probe = trained
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert sorted(state) == [f"net.net.{layer}.{part}" for layer in (0, 3) for part in ("bias", "weight")]
    plain = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, probe.task.n_outputs)).eval()
    plain.load_state_dict({key.removeprefix("net.net."): value for key, value in state.items()})
    x = vectors(Store("stores/block_01").ids, [0, 1])
    with torch.inference_mode():
        expected = plain(torch.from_numpy(x)).sigmoid().numpy()
    np.testing.assert_allclose(probe.predict(x), expected, atol=1e-6)
    assert probe.features["reduction"] == "mean of cls+dist"
    assert probe.features["producer"]["weights"] == Store("stores/block_01").header.producer["weights"]


@pytest.mark.parametrize(("average", "suffix"), [("ema_decay=0.5", "_ema"), ("do_swa=True", "_swa")])
def test_an_average_that_is_better_is_what_is_kept_and_evaluated(home, average, suffix):
    words = ["with", *QUICK, *STORED, f"module.{average}", "module.swa_epoch_start=1", "module.swa_freq=1"]
    result = run("ex_transfer.py", *words, "probe.file=kept/averaged.safetensors", f"trainer.checkpoint_dir={average}")
    kept = FittedProbe.load("kept/averaged.safetensors")
    state = torch.load(f"{average}/best.ckpt", weights_only=True)["state_dict"]
    averaged = any(key.startswith("net_swa.") for key in state)
    prefix, suffix = ("net_swa.", suffix) if averaged else ("net.", "")
    weight = next(value for key, value in state.items() if key.startswith(prefix) and key.endswith("net.0.weight"))
    np.testing.assert_array_equal(kept.weights["0.weight"], weight.numpy())
    assert kept.value == pytest.approx(result[f"val/roc_auc{suffix}"])
    split = read_table(Path("tracks.csv")).split("test")
    predictions = kept.predict(vectors([track.id for track in split], [0]))
    targets = np.stack([kept.task.encode(track.annotations["tags"]) for track in split])
    assert kept.task.score(predictions, targets)["ap"] == pytest.approx(result["test/ap"])


def test_f16_tracks_are_shuffled_every_epoch_and_all_of_them_seen(home, monkeypatch):
    seen: list[list[int]] = []
    step = Learner.training_step

    def spy(self, batch, batch_idx):
        seen.append(batch["track"].tolist())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", spy)
    run("ex_transfer.py", "with", *STORED, "trainer.max_epochs=2", "datamodule.batch_size_train=8")
    first, second = [*itertools.chain(*seen[:3])], [*itertools.chain(*seen[3:])]
    assert sorted(first) == sorted(second) == list(range(20))
    assert len({tuple(first), tuple(second), tuple(range(20))}) == 3


def test_a_training_that_is_cut_ends_with_the_same_weights(home, monkeypatch):
    words = ["with", *QUICK, *STORED, "datamodule.batch_size_train=8", "trainer.log_every_n_steps=1"]
    run("ex_transfer.py", *words, "trainer.checkpoint_dir=whole")
    calls, step = [], Learner.training_step

    def killed(self, batch, batch_idx):
        calls.append(batch_idx)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", killed)
        with pytest.raises(SystemExit) as ended:
            run("ex_transfer.py", *words, "trainer.checkpoint_dir=cut")
    assert ended.value.code == 128 + signal.SIGTERM
    assert len(calls) == 5
    run("ex_transfer.py", *words, "trainer.checkpoint_dir=cut", "resume=True")
    one, other = (torch.load(f"{name}/last.ckpt", weights_only=True)["state_dict"] for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_predictions_of_audio_are_those_of_its_stored_embeddings(trained):
    words = ["probe.file=kept/tags.safetensors", "inference.checkpoint=encoder.safetensors", "inference.audio=audio"]
    result = run("ex_transfer.py", "predict", "with", *words, "inference.out_dir=predicted", "inference.top=15")
    probe, ids = trained[2], Store("stores/block_01").ids[:6]
    assert (result["predicted"], result["skipped"]) == (6, 0)
    found = documents("predicted")
    expected = probe.predict(vectors(ids, [0, 1]))
    predictions = np.array([[found[Path(one).name]["ranked"][name] for name in probe.task.classes] for one in ids])
    np.testing.assert_allclose(predictions, expected, atol=1e-3)
    assert list(found[Path(ids[0]).name]["ranked"].values()) == sorted(predictions[0], reverse=True)
    with open("predicted/predictions.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == sum(Store("stores/block_01").length(one) for one in ids)
    assert list(Path("predicted").glob("over_time_00_*.png"))
    again = run("ex_transfer.py", "predict", "with", *words, "inference.out_dir=predicted", "inference.top=15")
    assert (again["predicted"], again["already"]) == (0, 6)


def probe_of(task, blocks: tuple[int, ...] = (1,)) -> FittedProbe:
    """A probe of random weights on stored embeddings, standardised, of one block or a sum of several."""
    stores = [Store(f"stores/block_{block:02d}") for block in blocks]
    generator = np.random.default_rng(0)
    weights = {
        "0.weight": generator.normal(0, 0.3, (task.n_outputs, 96)).astype(np.float32),
        "0.bias": np.zeros(task.n_outputs, np.float32),
    }
    features = {
        "kind": "embeddings",
        "fingerprint": "+".join(store.header.fingerprint for store in stores),
        "reduction": "cls+dist+mean",
        "producer": dict(stores[0].header.producer),
    }
    if len(blocks) > 1:
        weights["blocks"] = generator.normal(size=len(blocks)).astype(np.float32)
        features["blocks"] = list(blocks)
    mean, scale = generator.normal(size=96 * len(blocks)), np.full(96 * len(blocks), 2.0)
    return FittedProbe(task, ProbeConfig(), 0, weights, mean, scale, features, 0.5, 1.0, 8, 16)


TASKS = {
    "tagging": Tagging(classes=["a", "b", "c"]),
    "genre": Genre(classes=["rock", "jazz"]),
    "key": Key(),
    "tempo": Tempo(),
    "emotion": Emotion(mean=[5.0, 4.0], scale=[1.0, 2.0]),
    "tempo_regression": TempoRegression(mean=[7.0], scale=[0.3]),
}


@pytest.mark.parametrize(("name", "blocks"), [*((name, (1,)) for name in TASKS), ("key", (0, 1))])
def test_probes_of_every_task_predict_for_audio(home, name, blocks, capfd):
    task = TASKS[name]
    probe = probe_of(task, blocks)
    probe.save("probe.safetensors")
    words = ["probe.file=probe.safetensors", "inference.checkpoint=encoder.safetensors", "inference.overwrite=True"]
    song = Store("stores/block_01").ids[3]
    run("ex_probe.py", "predict", "with", *words, f"inference.audio=audio/{song}", "inference.out_dir=one")
    pooled = [Store(f"stores/block_{block:02d}").read(song).astype(np.float64).mean(0).reshape(-1) for block in blocks]
    expected = probe.predict(np.concatenate(pooled)[None].astype(np.float32))[0]
    (found,) = documents("one").values()
    key = "values" if task.kind == "values" else "ranked"
    best = next(iter(found[key]))
    if task.kind == "values":
        assert list(found[key]) == list(task.classes)
        np.testing.assert_allclose(list(found[key].values()), expected, rtol=2e-2)
    else:
        assert best == task.classes[int(expected.argmax())]
        assert found[key][best] == pytest.approx(expected.max(), abs=2e-3)
    said = f"{found['tempo']['tempo']:.2f} BPM (or {found['tempo']['second_tempo']:.2f}" if name == "tempo" else best
    assert said in capfd.readouterr().out
    with open("one/ranked.csv", newline="") as table:
        assert next(csv.reader(table))[-1] == ("value" if task.kind == "values" else "probability")


def test_a_corpus_of_songs_is_evaluated_by_song(home):
    with open("songs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "genre", "group"])
        for split in SPLITS:
            for number, track in enumerate(read_table(Path("tracks.csv")).split(split)):
                song = number // 2
                writer.writerow([track.id, split, ["rock", "jazz", "folk"][song % 3], f"{split} {song}"])
    words = [*QUICK, "embeddings.store=stores/block_00", "datamodule.base_dir=mels", "datamodule.groundtruth=songs.csv"]
    result = run("ex_transfer.py", "with", *words)
    assert result["test/n_items"] == 5
    newest = max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime)
    (score,) = read_scores(known(newest)["scores"])
    kept = load_predictions(newest / score.predictions)
    assert (score.n, score.aggregation, kept.ids[0]) == (5, "mean of windows; song: mean", "test 0")
    probe = FittedProbe.load(newest / "probe_genre.safetensors")
    store = Store("stores/block_00")
    clips = [track.id for track in read_table(Path("songs.csv")).split("test")][:2]
    x = np.stack([store.read(one).astype(np.float64).mean(0)[0] for one in clips]).astype(np.float32)
    np.testing.assert_allclose(kept.predictions[0], probe.predict(x).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["with"], "embeddings.store is not set"),
        (["with", "embeddings.store=gone"], "no store of embeddings"),
        (["with", "embeddings.store=stores", *DATA], "it has the blocks 0, 1; choose one: embeddings.block="),
        (["with", "embeddings.store=stores", "embeddings.block=7", *DATA], "stores has the blocks 0, 1; extract it"),
        (["with", "embeddings.store=stores/block_00", "embeddings.block=1", *DATA], "it is: embeddings.block=0"),
        (["with", *STORED, "embeddings.tokens=[cls,cls]"], "give each once"),
        (["with", "embeddings.store=plain", *DATA, "embeddings.tokens=[dist]"], "not the tokens cls, dist, mean"),
        (["with", "embeddings.store=mels", *DATA], "mel"),
        (["with", *STORED, "datamodule.groundtruth=few.csv", "datamodule.task=key"], "no track of few has key"),
        (["with", *STORED, "datamodule.groundtruth=one_split.csv"], "no tracks in split valid"),
        (["with", *STORED, "datamodule.masking.do=False"], "datamodule.masking is about windows of audio"),
        (["with", *STORED, "module.freeze=1"], "leave this setting out"),
        (["predict", "with", "inference.audio=audio"], "no trained network is named"),
        (["predict", "with", "inference.audio=audio"], "a run's folder; or a probe"),
        (["predict", "with", "probe.file=gone.safetensors", "inference.audio=audio"], "no such probe; ex_probe"),
        (["predict", "with", "probe.file=encoder.safetensors", "inference.audio=audio"], "is it a probe?"),
        (["predict", "with", "probe.file=kept/tags.safetensors"], "inference.audio is not set"),
        (["predict", "with", "probe.file=kept/tags.safetensors", "inference.audio=gone.mp3"], "no such file or folder"),
        (["predict", "with", "probe.file=kept/tags.safetensors", "inference.audio=audio"], "a network of your own"),
        (["predict", "with", "probe.file=foreign.safetensors", "inference.audio=audio"], "not made of audio here"),
    ],
)  # fmt: skip
def test_mistakes_are_named_without_a_traceback(trained, words, said, capfd):
    if not Path("plain").exists():
        with StoreWriter(Path("plain"), header("embeddings", (4,), "level", {"encoder": "musicnn"})) as writer:
            for identity in Store("mels").ids:
                writer.append(identity, np.ones((2, 4), np.float16))
        with open("few.csv", "w", newline="") as file:
            csv.writer(file).writerows([("path", "genre"), *((identity, "rock") for identity in Store("mels").ids)])
        table = Path("tracks.csv").read_text().replace(",valid,", ",train,")
        Path("one_split.csv").write_text(table)
        probe = probe_of(TASKS["genre"])
        foreign = {"kind": "embeddings", "fingerprint": "0", "reduction": "stored", "producer": {"encoder": "musicnn"}}
        FittedProbe(**{**vars(probe), "features": foreign}).save("foreign.safetensors")
    with pytest.raises(SystemExit):
        run("ex_transfer.py", *words)
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_another_encoder_is_refused_by_both_names(trained, capfd):
    words = ["probe.file=kept/tags.safetensors", "inference.checkpoint=other.safetensors", "inference.audio=audio"]
    for script in ("ex_transfer.py", "ex_probe.py"):
        with pytest.raises(SystemExit):
            run(script, "predict", "with", *words)
        shown = capfd.readouterr().err
        assert Store("stores/block_01").header.producer["weights"] in shown
        assert "other.safetensors has weights sha256" in shown


def test_vectors_without_tokens_are_taken_as_they_are(trained):
    result = run("ex_transfer.py", "with", *QUICK, "embeddings.store=plain", *DATA)
    assert np.isfinite(result["val/loss"])
