"""Sweeps by the command a user types, on small stores with signal."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Header, Store, StoreWriter
from experiments.leaderboard import ranking
from experiments.leaderboard.sources import DiskSource, Wanted
from experiments.probes.fitted import FittedProbe
from experiments.probes.records import load_predictions, read_scores_csv

ROOT = Path(__file__).resolve().parents[1]
GENRES = ("blues", "jazz", "rock")
SONG = 3  # clips
FAST = ["probe.jobs=1", "probe.max_steps=24", "probe.axes.patience=[4]", "tracking.mongo=off", "probe.tasks=[genre]"]
PLAIN = ["datamodule.base_dir=mels", "embeddings.baselines=[majority_or_mean]"]


def run(*arguments: str) -> dict:
    """`python ex_probe.py with arguments` in this process; its result."""
    from ex_probe import ex

    return ex.run_commandline([str(ROOT / "ex_probe.py"), "with", *arguments])


def tracks() -> list[tuple[str, str, str, str]]:
    """Path, split, genre, song."""
    rng, rows = np.random.default_rng(0), []
    for number in range(150):
        if number % SONG == 0:
            genre = GENRES[rng.integers(len(GENRES))]
        split = ("train", "train", "train", "valid", "test")[number // SONG % 5]
        rows.append((f"{number:03d}.ogg", split, genre, f"song {number // SONG}"))
    return rows


def store(path: Path, shape: tuple[int, ...], kind: str = "embeddings", noise: float = 1.0, **producer) -> None:
    """A store in which the first token's values tell the genre, under so much noise."""
    rng = np.random.default_rng(int(noise * 10))
    header = Header(kind, shape, producer=producer, fingerprint=f"{abs(hash(str(sorted(producer.items())))):016x}"[:16])
    with StoreWriter(path, header) as writer:
        for name, _, genre, _ in tracks():
            array = rng.normal(size=(2, *shape)) * noise
            array[..., GENRES.index(genre)] += 1.0
            writer.append(name, array.astype(np.float16))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Mels, a table and stores of embeddings."""
    from models.frontends import build

    folder, frontend = tmp_path_factory.mktemp("made"), build("musicnn")
    header = Header("mel", (96,), producer=frontend.parameters_dict, fingerprint=frontend.fingerprint)
    with StoreWriter(folder / "mels", header) as writer:
        for name, *_ in tracks():
            writer.append(name, np.zeros((20, 96), np.float16))
    write_table(folder / "mels" / "tracks.csv")
    for block, noise in ((0, 4.0), (1, 1.0)):
        store(folder / "net" / f"block_{block:02d}", (3, 8), noise=noise, network="a", block=block)
    store(folder / "plain", (1, 8), noise=2.0, encoder="foreign")
    return folder


def write_table(path: Path, rows=None, group: bool = False) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "split", "genre", *(["group"] if group else [])])
        writer.writerows(row if group else row[:3] for row in rows or tracks())


@pytest.fixture
def home(made, tmp_path, monkeypatch) -> Path:
    """A working directory with what was made."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    return tmp_path / "work"


def last_run() -> Path:
    return max(Path("runs").glob("*/scores.csv"), key=lambda path: path.stat().st_mtime_ns).parent  # of one second too


def test_blocks_tokens_pooling_sum_seeds_and_other_encoders_are_rows_of_one_table(home, capfd):
    result = run(
        *FAST,
        *PLAIN,
        "embeddings.store=net",
        "embeddings.tokens=[cls,all]",
        "embeddings.pooling=[mean,max]",
        "embeddings.block_sum=True",
        "embeddings.compare.foreign=plain",
        "probe.seeds=2",
        "probe.axes.learning_rate=[1e-2]",
    )
    said = capfd.readouterr().err
    scores = read_scores_csv(last_run() / "scores.csv")
    rows = {(one.encoder, one.block, one.tokens, one.pooling) for one in scores}
    assert len(scores) == len(rows) == 3 * 2 * 2 + 2 + 1
    assert ("embeddings", "sum", "cls", "max") in rows
    assert ("foreign", "", "", "mean") in rows
    assert ("majority class or mean", "", "", "") in rows
    assert all(len(one.seeds) == 2 and one.valid is not None for one in scores if one.kind == "probe")
    best = max((one for one in scores if one.encoder == "embeddings"), key=lambda one: one.valid)
    assert best.block in (1, "sum")
    assert best.score > 0.7 > result["genre/majority class or mean/accuracy"]
    for one in scores:
        kept = load_predictions(last_run() / "files" / one.predictions)
        accuracy = np.mean(kept.by_seed.argmax(-1) == kept.references, axis=1)
        np.testing.assert_allclose(accuracy, one.seeds)
        assert len(kept.ids) == one.n == 30
        assert one.low <= one.score <= one.high
    learned = next(one for one in scores if one.block == "sum" and one.tokens == "all")
    assert sum(learned.config["block_shares"]) == pytest.approx(1, abs=1e-3)
    assert "genre, 30 test tracks; per cent ± half of the 95 % interval over tracks and 2 seeds" in said
    assert re.search(f"embeddings, {'sum of blocks' if best.block == 'sum' else 'block 1'}.* better by", said)
    with (last_run() / "probes.csv").open(newline="") as handle:
        points = list(csv.DictReader(handle))
    assert len(points) == 14 * 2 * 4
    assert sum(point["chosen"] == "True" for point in points) == 14 * 2
    assert len((last_run() / "files" / "light_runs.jsonl").read_text().splitlines()) == len(points)
    probe = FittedProbe.load(last_run() / "probe_genre.safetensors")
    assert probe.value == max(
        float(point["value"]) for point in points if point["seed"] == "0" and "for" not in point["representation"]
    )


def test_an_encoder_has_the_name_that_is_given_or_in_the_leaderboard_that_of_its_store(home, capfd):
    run(*FAST, *PLAIN, "embeddings.store=net/block_01", "embeddings.compare.other=plain")
    capfd.readouterr()
    (unnamed,) = DiskSource(Path("runs")).sweeps(Wanted())
    assert {entry.name for entry in ranking.named([unnamed])} == {"net", "other", "majority class or mean"}
    run(*FAST, *PLAIN, "embeddings.store=net/block_01", "embeddings.name=mine")
    said = capfd.readouterr().err
    assert "mine better by" in said
    named = [one for one in DiskSource(Path("runs")).sweeps(Wanted()) if one.key != unnamed.key]
    assert f"/{named[0].key}\nnext: python ex_probe.py report\n" in said
    assert {entry.name for entry in ranking.named(named)} == {"mine", "majority class or mean"}
    assert (last_run() / "probe_genre.safetensors").is_file()


def test_two_rows_are_compared_below_the_table(home, capfd):
    run(
        *FAST,
        *PLAIN,
        "embeddings.store=plain",
        "embeddings.compare.net=net",
        "embeddings.ahead.net=majority class or mean",
    )
    said = capfd.readouterr().err
    (line,) = [line for line in said.splitlines() if " better than " in line]
    best = max(
        (one for one in read_scores_csv(last_run() / "scores.csv") if one.encoder == "net"), key=lambda one: one.valid
    )
    assert re.fullmatch(
        rf"net, block {best.block} better than majority class or mean by \+\d+\.\d \(\+\d+\.\d to \+\d+\.\d\)", line
    )
    assert line in (last_run() / "files" / "comparison.txt").read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["embeddings.ahead.net=embeddings"], "no row is called 'net'; there are embeddings, "),
        (["embeddings.ahead.embeddings=embeddings"], "one row; name two"),
    ],
)
def test_a_comparison_of_rows_that_are_not_there_is_refused(home, capfd, words, problem):
    with pytest.raises(SystemExit):
        run(*FAST, *PLAIN, "embeddings.store=plain", *words)
    assert problem in capfd.readouterr().err


def test_a_sweep_that_was_killed_goes_on_to_the_same_scores(home):
    sizes = "probe.axes.batch_size=[8,16,32,48,64,80]"
    words = [
        *FAST,
        *PLAIN,
        "embeddings.store=plain",
        "probe.axes.hidden=[16]",
        sizes,
        "probe.max_steps=150",
        "probe.axes.patience=[200]",
    ]
    command = [sys.executable, str(ROOT / "ex_probe.py"), "with", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(Path("outputs/sweeps").glob("*/*.json"))) < 3:
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finished = len(list(Path("outputs/sweeps").glob("*/*.json")))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "trained before, taken from outputs/sweeps" in again.stderr
    scores = read_scores_csv(last_run() / "scores.csv")
    shutil.move("outputs/sweeps", "interrupted")
    run(*words)
    assert read_scores_csv(last_run() / "scores.csv") == scores
    assert 3 <= finished < len(list(Path("outputs/sweeps").glob("*/*.json")))


def test_clips_of_songs_are_evaluated_as_songs(home):
    write_table(home / "mels" / "tracks.csv", group=True)
    result = run(*FAST, *PLAIN, "embeddings.store=net", "embeddings.blocks=[1]", "probe.axes.learning_rate=[1e-2]")
    for one in read_scores_csv(last_run() / "scores.csv"):
        assert one.n == 10
        assert "song: " in one.aggregation
        assert set(load_predictions(last_run() / one.predictions).ids) <= {f"song {number}" for number in range(50)}
    assert result["genre/embeddings/accuracy"] > 0.8


def test_layers_and_tokens_of_any_network_are_rows_by_their_names(home, capfd):
    for layer in ("conv1", "conv2"):
        store(Path("cnn") / f"layer_{layer}", (2, 8), network="cnn", layer=layer, token_names=["mean", "max"])
    words = [*FAST, *PLAIN, "embeddings.store=cnn", "probe.axes.hidden=[4]", "probe.axes.dropout=[0.25]"]
    run(*words, "embeddings.tokens=[max,all]", "embeddings.layers=[conv2]", "embeddings.compare.maest=net/block_01")
    scores = read_scores_csv(last_run() / "scores.csv")
    assert {(one.encoder, one.block, one.tokens) for one in scores if one.kind == "probe"} == {
        ("embeddings", "conv2", "max"),
        ("embeddings", "conv2", "all"),
        ("maest", 1, "all"),
    }
    run(*words, "embeddings.block_sum=True")
    assert {one.block for one in read_scores_csv(last_run() / "scores.csv")} == {"conv1", "conv2", "sum", ""}
    assert "embeddings, layer conv1" in capfd.readouterr().err
    (unnamed, *_) = DiskSource(Path("runs")).sweeps(Wanted())
    assert "cnn" in {entry.name for entry in ranking.named([unnamed])}
    for wrong, said in (
        ("embeddings.tokens=[cls]", "has the tokens mean, max; choose one, several joined by +, or all"),
        ("embeddings.layers=[conv3]", "embeddings.layers: cnn has no layer conv3, there is conv1, conv2"),
        ("embeddings.blocks=[3]", "embeddings.blocks: no store is of block 3; there is layer conv1, layer conv2"),
    ):
        with pytest.raises(SystemExit):
            run(*words, wrong)
        assert said in capfd.readouterr().err


def test_stored_predictions_are_rows(home):
    header = Header("answers", (3,), producer={"task": "genre", "encoder": "oracle"}, fingerprint="0" * 16)
    with StoreWriter(home / "oracle", header) as writer:
        for name, _, genre, _ in tracks():
            writer.append(name, np.eye(3, dtype=np.float16)[[GENRES.index(genre)]])
    result = run(*FAST, *PLAIN, "embeddings.store=plain", "embeddings.predictions.oracle=oracle")
    assert result["genre/oracle/accuracy"] == 1
    row = next(one for one in read_scores_csv(last_run() / "scores.csv") if one.encoder == "oracle")
    assert (row.kind, row.network, row.config) == ("baseline", "0" * 16, {})


def test_few_shots_are_all_that_the_baseline_and_the_report_by_class_know(home):
    write_table(Path("mels/tracks.csv"), [row for row in tracks() if row[1:3] != ("train", "jazz")])
    run(*FAST, *PLAIN, "embeddings.store=plain", "probe.shots=3", "probe.seeds=2")
    kept = load_predictions(last_run() / "files/predictions_genre_majority-class-or-mean.npz")
    assert kept.by_seed.shape == (2, 30, 3)
    np.testing.assert_allclose(kept.by_seed, np.broadcast_to([0.5, 0.0, 0.5], kept.by_seed.shape))
    with (last_run() / "files/per_class_test_genre.csv").open() as handle:
        assert {row["class"]: row["n_train"] for row in csv.DictReader(handle)} == {
            "blues": "3",
            "jazz": "0",
            "rock": "3",
        }


def shard(folder: Path) -> np.ndarray:
    """The values of a store, to be damaged."""
    (path,) = folder.glob("shards/*.npy")
    return np.load(path, mmap_mode="r+")


def constant_features() -> list[str]:
    for block in (0, 1):
        shard(Path(f"net/block_{block:02d}"))[...] = 0.5
    return []


def broken_features() -> list[str]:
    shard(Path("net/block_01")).reshape(-1)[100] = np.nan
    return []


def other_network() -> list[str]:
    shutil.rmtree("net/block_01")
    store(Path("net/block_01"), (3, 8), network="b", block=1)
    return []


def fewer_tracks() -> list[str]:
    with StoreWriter("half", Store("plain").header) as writer:
        for name, *_ in tracks()[::2]:
            writer.append(name, np.zeros((1, 1, 8), np.float16))
    return ["embeddings.compare.half=half", "datamodule.max_unmatched=0.1"]


def other_tracks() -> list[str]:
    with StoreWriter("other", Store("plain").header) as writer:
        writer.append("somewhere/else.ogg", np.zeros((1, 1, 8), np.float16))
    return ["embeddings.compare.other=other"]


def no_validation() -> list[str]:
    write_table(Path("mels/tracks.csv"), [row for row in tracks() if row[1] != "valid"])
    return []


def a_class_less() -> list[str]:
    write_table(Path("mels/tracks.csv"), [row for row in tracks() if row[1:3] != ("valid", "jazz")])
    return []


def other_outputs() -> list[str]:
    with StoreWriter("two", Header("answers", (2,), producer={"task": "genre"}, fingerprint="0")) as writer:
        writer.append("000.ogg", np.zeros((1, 2), np.float16))
    return ["embeddings.predictions.two=two"]


def too_few_predictions() -> list[str]:
    with StoreWriter("few", Header("answers", (3,), producer={"task": "genre"}, fingerprint="0")) as writer:
        writer.append("000.ogg", np.zeros((1, 3), np.float16))
    return ["embeddings.predictions.few=few"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (broken_features, "of its features is nan; extract it again"),
        (other_network, "net/block_00 and net/block_01 are not of one network, they differ in network ('a', 'b')"),
        (lambda: [*other_network(), "embeddings.block_sum=True"], "are not of one network"),
        (other_tracks, "have no track in common"),
        (fewer_tracks, "75 of 150 tracks (50.0%) are labelled but not in half; all of them: "),
        (no_validation, "no tracks in split valid"),
        (other_outputs, "holds predictions of shape [2], genre has 3 outputs"),
        (lambda: [other_outputs()[0].replace("predictions", "compare")], "give it as embeddings.predictions.NAME=two"),
        (lambda: ["embeddings.predictions.plain=plain"], "give it as embeddings.compare.NAME=plain"),
        (too_few_predictions, "lacks 30 of 30 test tracks"),
        (lambda: ["probe.axes.learning_rate=[1e30]", "probe.axes.hidden=[8]"], "none of 2 probes could be trained"),
        (lambda: ["embeddings.predictions.majority class or mean=x"], "rows of the table already"),
        (lambda: ["embeddings.name=mel statistics"], "name=mel statistics: this is a row of the table already"),
        (lambda: ["embeddings.name=x", "embeddings.compare.x=plain"], "name=x and compare.x: one name for two rows"),
        (lambda: ["probe.shots=2", "probe.train_share=0.5"], "give one of them"),
        (lambda: ["probe.axes.dropout=[1]"], "dropout: 1, expected"),
        (lambda: ["probe.seeds=[]"], "seeds=[]"),
    ],
)
def test_what_cannot_be_probed_is_named(home, capfd, harm, said):
    with pytest.raises(SystemExit):
        run(*FAST, *PLAIN, "embeddings.store=net", *harm())
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (constant_features, "choices were ties"),
        (a_class_less, "1 class has no track in split valid, not counted there: jazz"),
        (
            lambda: ["probe.axes.learning_rate=[1e-3,1e30]", "probe.axes.hidden=[8]"],
            "2 of 4 probes failed (probes.csv)",
        ),
    ],
)
def test_what_can_be_probed_all_the_same_is_said(home, capfd, harm, said):
    result = run(*FAST, *PLAIN, "embeddings.store=net", *harm())
    assert said in capfd.readouterr().err
    assert all(np.isfinite(value) for value in result.values())
