"""A user's own labels in every form, by the commands that are typed: described, trained on, refused with a reason."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from datasets.store import Store

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["maest_5s_random_weights_pretrain", "debug", "tracking.mongo=off", "trainer.max_epochs=1"]
SMALL += ["trainer.limit_train_batches=1"]


def run(*arguments: str) -> dict:
    """Run `python ex_pretrain.py arguments` in this process; its result."""
    from ex_pretrain import ex

    return ex.run_commandline([str(ROOT / "ex_pretrain.py"), *arguments])


def newest() -> Path:
    """The folder of the last run."""
    return max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def data_of(folder: Path) -> dict:
    """What a run says of its data."""
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return next(r["set"]["info.data"] for r in records if r["kind"] == "info" and "info.data" in r["set"])


@pytest.fixture(scope="module")
def own(tiny_corpus, tiny_mels, tmp_path_factory):
    """A working directory with the tiny corpus in every form: folders of classes, tables, and its log-mels."""
    home = tmp_path_factory.mktemp("labels")
    with (tiny_corpus / "tracks.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        place = home / "classes" / row["genre"] / row["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(tiny_corpus / "audio" / row["path"], place)
    (home / "classes" / "nothing yet").mkdir()
    os.symlink(tiny_mels, home / "mels")
    tags = [row["tags"].split(";") for row in rows]
    paths = [row["path"] for row in rows]
    artists = [f"artist {n // 4}" for n in range(len(rows))]
    (home / "two.csv").write_text(
        "file,labels\n" + "".join(f"{p},{';'.join(t)}\n" for p, t in zip(paths, tags, strict=True))
    )
    pq.write_table(pa.table({"path": paths, "tags": tags, "artist": artists}), home / "lists.parquet")
    (home / "map.json").write_text(json.dumps(dict(zip(paths, tags, strict=True))))
    lines = (json.dumps({"id": row["path"], "class": row["genre"]}) for row in rows)
    (home / "lines.jsonl").write_text("\n".join(lines))
    (home / "tabs.tsv").write_text("Path\tGenre\n" + "".join(f"{row['path']}\t{row['genre']}\n" for row in rows))
    return home


@pytest.fixture
def at_home(own, monkeypatch):
    """The working directory, entered."""
    monkeypatch.chdir(own)
    return own


def test_a_folder_a_class_is_trained_on_without_a_word_more(at_home, capfd):
    result = run("with", *SMALL, "datamodule.base_dir=classes", "datamodule.splits=stratified")
    assert {"val/accuracy", "test/macro_f1"} <= result.keys()
    said = capfd.readouterr().err
    assert "classes: its 10 folders are taken for genres: ballad 4, " in said
    assert "splits stratified by label, seed 0: 30 train, 5 valid, 5 test" in said
    assert "datamodule.base_dir=classes datamodule.splits=stratified" in said.replace("'", "")
    found = data_of(newest())
    assert found["tracks"] == {"train": 30, "valid": 5, "test": 5}
    assert (found["splits"], found["classes"]) == ("stratified by label, seed 0", 10)
    described = run("describe", "with", *SMALL, "datamodule.base_dir=classes", "datamodule.splits=stratified")
    assert described["empty_class"] == 1
    again = data_of(newest())
    for name in ("split_fingerprint", "classes_fingerprint", "tracks", "splits"):
        assert again[name] == found[name]


@pytest.mark.parametrize(
    ("table", "score", "classes"),
    [
        ("two.csv", "val/roc_auc", 15),
        ("lists.parquet", "val/roc_auc", 15),
        ("map.json", "val/roc_auc", 15),
        ("lines.jsonl", "val/accuracy", 10),
        ("tabs.tsv", "val/accuracy", 10),
    ],
)
def test_a_table_of_any_form_is_trained_on(at_home, table, score, classes):
    data = ["datamodule.base_dir=mels", f"datamodule.groundtruth={table}", "datamodule.splits=stratified"]
    assert score in run("with", *SMALL, *data)
    assert data_of(newest())["classes"] == classes


def test_a_report_lists_problems_first_and_leaves_tables_and_a_picture(at_home, capfd):
    with Path("leaks.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "split", "tags", "artist"])
        names = sorted(Store("mels").ids)
        for n, name in enumerate(names[:30]):
            split = "test" if n % 5 == 4 else "valid" if n % 5 == 3 else "train"
            writer.writerow([name, split, "kazoo" if n == 4 else "Loud;slow" if n % 2 else "loud", f"artist {n // 3}"])
        writer.writerow(["gone.wav", "train", "loud", ""])
        writer.writerow([names[30], "train", "", ""])
    data = ["datamodule.base_dir=mels", "datamodule.groundtruth=leaks.csv", "tracking.mongo=off"]
    result = run("describe", "with", *data, "datamodule.clip_length=10")
    shown = capfd.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "mels: 30 tracks with tags, 0.05 hours, 3 classes"
    assert lines[2] == "problems that distort results:"
    assert "8 of 10 artists have tracks in several splits" in shown.out.split("worth a look")[0]
    assert "1 of 3 labels (tags) without a track in train: cannot be learned: kazoo" in shown.out
    assert "1 spelling of labels (tags) merged" in shown.err
    expected = {"tracks": 30, "train": 18, "valid": 6, "test": 6, "labels": 3, "artist_in_two_splits": 8}
    assert expected | {"no_audio": 1, "no_labels": 9, "not_annotated": 1, "short": 30} == {
        key: result[key] for key in (*expected, "no_audio", "no_labels", "not_annotated", "short")
    }
    reader = Store("mels")
    training = [name for n, name in enumerate(names[:30]) if n % 5 < 3]
    values = np.concatenate([reader.read(name) for name in training]).astype(np.float64)
    assert (result["mel_mean"], result["mel_deviation"]) == pytest.approx((values.mean(), values.std()), rel=1e-9)
    paste = f"datamodule.norm.norm_mean={values.mean():.4f} datamodule.norm.norm_std={values.std():.4f}"
    assert paste in shown.out
    folder = newest()
    assert {"corpus.png", "corpus_labels.csv", "corpus_findings.csv", "corpus_tracks.csv"} <= {
        file.name for file in folder.iterdir()
    }
    again = run("describe", "with", *data[::2], f"datamodule.groundtruth={folder}/corpus_tracks.csv", paste.split()[0])
    assert {key: again[key] for key in expected} == expected


def test_the_same_audio_under_two_names_is_found_across_splits(at_home, tmp_path, capfd):
    music = tmp_path / "music"
    for name in ("ballad", "rock"):
        shutil.copytree(f"classes/{name}", music / name)
    first = sorted((music / "rock").iterdir())[0]
    shutil.copy(first, music / "ballad" / "copy.flac")
    (tmp_path / "t.csv").write_text(
        "path,split,genre\n"
        + "".join(
            f"{file.relative_to(music)},{'test' if file.name == 'copy.flac' else 'train'},{file.parent.name}\n"
            for file in sorted(music.rglob("*.flac"))
        )
    )
    data = [f"datamodule.base_dir={music}", f"datamodule.groundtruth={tmp_path}/t.csv"]
    result = run("describe", "with", *data, f"datamodule.store_dir={tmp_path}/mels", "tracking.mongo=off")
    assert (result["same_audio_in_two_splits"], result["same_audio_other_labels"], result["empty_split"]) == (1, 1, 1)
    said = capfd.readouterr().out
    assert f"ballad/copy.flac (test) = rock/{first.name} (train)" in said


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        (
            "path,title\n{0},x\n{1},y\n",
            [],
            "columns.genre, where tracks have one label each); the table has 'path', 'title'",
        ),
        ("path,split,label\n{0},trian,x\n", [], "line 2: split 'trian'; expected one of train"),
        ("path,label\n{0},x\n{1},y\n{0},y\n", [], "stands in it twice (line 2 and line 4)"),
        ("path,label\n{0},x\n{1},x\n", [], "genre: 1 class given"),
        ("path,label,split\n{0},x,train\n{1},y,train\n", [], "no tracks in split valid (train 2, valid 0, test 0)"),
        ("path,label\n{0},x\n{1},y\n", ["datamodule.splits=grouped"], "has an artist; name the column"),
        ("path,label\n{0},x\n{1},y\n", ["datamodule.min_tracks=9"], "leaves no label"),
        ("path,label\n{0},x\n{1},y\n", ["datamodule.split_shares=[1,1,1]"], "three numbers that sum to 1"),
        ("path,label\n{0},x\n{1},y\n", ["datamodule.columns.path=where"], "the path of the audio (where)"),
        ("path,label\nnowhere.wav,x\n", [], "none of the 1 labelled tracks is among the 40 stored ones"),
        ("path,label\n{0},x\n{1},y\n", ["datamodule.labels=few.txt"], "unknown genre 'y'"),
    ],
)
def test_mistakes_in_a_table_are_named(at_home, capfd, content, settings, said):
    Path("few.txt").write_text("x\nz\n")
    Path("wrong.csv").write_text(content.format(*Store("mels").ids))
    with pytest.raises(SystemExit):
        run("with", *SMALL, "datamodule.base_dir=mels", "datamodule.groundtruth=wrong.csv", *settings)
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_a_recording_in_two_formats_is_reported_where_it_is_in_two_splits(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    songs = ["super_polka.ogg", "synth_loop.ogg", "solo_voice.ogg"]
    for song in songs:
        samples, rate = soundfile.read(ROOT / "tests" / "data" / song, dtype="float32")
        (tmp_path / "audio").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "audio" / song.replace("ogg", "flac"), samples, rate)
    shutil.copy(ROOT / "tests" / "data" / songs[0], tmp_path / "audio" / "copy.ogg")
    rows = [("super_polka.flac", "polka", "train"), ("synth_loop.flac", "loop", "train"), ("copy.ogg", "polka", "test")]
    rows.append(("solo_voice.flac", "voice", "valid"))
    (tmp_path / "tracks.csv").write_text("path,genre,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    result = run("describe", "with", "tracking.mongo=off", "datamodule.base_dir=audio")
    assert result["same_audio_in_two_splits"] == 1
    assert "copy.ogg (test) = super_polka.flac (train)" in capfd.readouterr().out
