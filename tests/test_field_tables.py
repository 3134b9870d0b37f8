"""Tables as people have them, by the commands that are typed: described, probed, and every hint followed."""

from __future__ import annotations

import csv
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from datasets.splits import hashed_split
from datasets.store import Header, StoreWriter

ROOT = Path(__file__).resolve().parents[1]
IDS = tuple(f"{genre}/{n:02d}.wav" for genre in ("house", "techno") for n in range(12))
SPLITS = tuple(("train", "valid", "test", "train")[n % 4] for n in range(24))
GENRES = tuple(identity.partition("/")[0] for identity in IDS)
CAMELOT = tuple(f"{n % 12 + 1}{'AB'[n // 12]}" for n in range(24))
NUMBERS = tuple(str(n) for n in range(24))
BPM = tuple(str(110 + n) for n in range(24))
FAST = ["embeddings.store=embeddings", "embeddings.baselines=[constant]", "probe.jobs=1", "probe.max_steps=8"]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A working directory with log-mels and embeddings of all tracks."""
    from models.frontends import build

    folder, frontend = tmp_path_factory.mktemp("field"), build("musicnn")
    mel = Header("mel", (96,), producer=frontend.parameters_dict, fingerprint=frontend.fingerprint)
    tokens = Header("embeddings", (3, 4), producer={}, fingerprint="1" * 16)
    for name, header in (("mels", mel), ("embeddings", tokens), ("accents", mel)):
        with StoreWriter(folder / name, header) as writer:
            for n, identity in enumerate(IDS):
                accented = identity.replace("house", "m\u00fasica") if name == "accents" else identity
                writer.append(accented, np.full((4, *header.item_shape), n / 24, np.float16))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def write(ids=IDS, **columns) -> None:
    """Write a table; splits are given unless said otherwise."""
    columns = {"path": ids, "split": SPLITS, **columns}
    with Path("t.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def run(command: str, *settings: str) -> dict:
    """Run a command with the table in this process; its result."""
    from ex_pretrain import ex as pretrain
    from ex_probe import ex as probe

    table = ["datamodule.base_dir=mels", "datamodule.groundtruth=t.csv", "tracking.mongo=off"]
    if command == "probe":
        return probe.run_commandline([str(ROOT / "ex_probe.py"), "with", *table, *FAST, *settings])
    return pretrain.run_commandline([str(ROOT / "ex_pretrain.py"), command, "with", *table, *settings])


def refused(capfd, command: str, *settings: str) -> str:
    """What a command that is refused says."""
    capfd.readouterr()
    with pytest.raises(SystemExit):
        run(command, *settings)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    return said


def test_keys_of_a_dj_are_read_and_said(capfd):
    write(key=CAMELOT)
    assert run("describe")["tracks"] == 24
    said = capfd.readouterr()
    assert "t.csv: column 'key': 24 of 24 are codes of Camelot (8A is A minor)" in said.err
    assert re.search(r"^  Ab minor +1 ", said.out, re.MULTILINE)


def test_keys_of_which_none_can_be_read_are_reported_without_a_picture(capfd):
    write(key=NUMBERS)
    assert run("describe")["unreadable"] == 24
    said = capfd.readouterr().out
    assert "24 tracks have a key that cannot be read, and none has another: key '0' is none of the 24" in said
    assert "house/00.wav (train) = '0'" in said
    assert "corpus.png" not in said


def test_a_report_looks_at_the_tasks_that_would_not_be_trained_and_probes_take_its_hint(capfd):
    write(genre=GENRES, key=NUMBERS, tempo=BPM)
    assert run("describe")["unreadable_key"] == 24
    assert "24 tracks have a key that cannot be read" in capfd.readouterr().out.split("worth a look")[0]
    for more in ([], ["datamodule.unknown_labels=drop"]):
        said = refused(capfd, "probe", *more)
        assert "key: none of 24 tracks with key has one that can be read" in said
    hint = re.search(r"probe\.tasks=\[\S+\]", said)[0]
    assert {name.partition("/")[0] for name in run("probe", hint)} == {"genre", "tempo"}


def test_some_keys_that_cannot_be_read_can_be_left_out(capfd):
    write(genre=GENRES, key=("off", *CAMELOT[1:]))
    assert run("describe")["unreadable_key"] == 1
    said = refused(capfd, "probe")
    hint = re.search(r"datamodule\.unknown_labels=drop", said)[0]
    assert {name.partition("/")[0] for name in run("probe", hint)} == {"genre", "key"}


def test_german_keys_are_read_as_german_and_said(capfd):
    write(key=("B-Dur", "b-moll", "C-Dur", "H-Dur") * 6)
    run("describe")
    said = capfd.readouterr()
    assert "notes have German names, such as 'B-Dur': B is read as B flat and H as B (12 of 24" in said.err
    counted = dict(re.findall(r"^  (\w+ (?:major|minor)) +((?:\d+ +){3})", said.out, re.MULTILINE))
    assert {name: sum(map(int, counts.split())) for name, counts in counted.items()} == {
        "Bb major": 6,
        "Bb minor": 6,
        "C major": 6,
        "B major": 6,
    }


def test_tempi_in_hundredths_are_reported_and_refused(capfd):
    write(genre=GENRES, tempo=tuple(f"{bpm}00" for bpm in BPM))
    assert run("describe")["unreadable_tempo"] == 24
    said = capfd.readouterr().out
    assert "11000 BPM is no tempo, which is 10 to 1000 BPM (is 110 BPM meant?)" in said
    assert "tempo: 24 tracks, 24 cannot be read" in said
    assert "(is 110 BPM meant?)" in refused(capfd, "probe")


@pytest.mark.parametrize("cell", ["~125", "12800"])
def test_a_tempo_that_cannot_be_read_is_reported_refused_and_left_out_on_request_as_a_key_is(capfd, cell):
    write(genre=GENRES, tempo=(*BPM[:5], cell, *BPM[6:]))
    assert run("describe")["unreadable_tempo"] == 1
    assert "tempo: 24 tracks, 110 to 133, 1 cannot be read" in capfd.readouterr().out
    said = refused(capfd, "probe")
    assert re.search(rf"{re.escape(IDS[5])} \(\w+\): tempo: .*{cell}", said)
    hint = re.search(r"datamodule\.unknown_labels=drop", said)[0]
    assert {name.partition("/")[0] for name in run("probe", hint)} == {"genre", "tempo"}
    assert {name.partition("/")[0] for name in run("probe", "probe.tasks=[genre]")} == {"genre"}


def test_a_column_bpm_is_pointed_at_and_the_hint_leads_to_tempo(capfd):
    write(bpm=BPM)
    hint = re.search(r"datamodule\.columns\.tempo=bpm", refused(capfd, "describe"))[0]
    assert run("describe", hint)["labels"] == 256
    assert "24 tracks with tempo" in capfd.readouterr().out


def test_paths_in_another_case_are_counted(capfd):
    write([identity.replace("house", "House") for identity in IDS], genre=GENRES)
    assert run("describe")["other_case"] == 12
    assert "12 paths differ in case only from what is stored: House/00.wav" in capfd.readouterr().out


def test_a_refusal_to_describe_names_the_tracks_that_did_not_pair(capfd):
    write([identity.replace("house", "lost") for identity in IDS], genre=GENRES)
    said = refused(capfd, "describe")
    assert "genre: 1 class given" in said
    assert "12 tracks are labelled but not stored: lost/00.wav" in said


def test_ratings_on_two_scales_are_worth_a_look(capfd):
    write(arousal=[str(1 + n % 9) for n in range(24)], valence=[f"{n / 24 - 0.5:.2f}" for n in range(23)] + ["55"])
    assert run("describe")["implausible_arousal_and_valence"] >= 1
    said = capfd.readouterr().out
    assert "1 track has valence far from -1 to 1, where the others have it: techno/11.wav (train) = 6, 55" in said
    assert "arousal on a scale of 0 to 10 and valence on a scale of -1 to 1" in said


@pytest.mark.parametrize(
    ("column", "cells", "line"),
    [
        ("tags", [f"{genre}, loud" for genre in GENRES], 2),
        ("genre", [*GENRES[:-1], "house, techno"], 25),
    ],
)
def test_hints_about_several_labels_in_a_cell_lead_to_tags(capfd, column, cells, line):
    write(**{column: cells})
    said = refused(capfd, "describe")
    assert f"t.csv, line {line}: {column}='" in said
    hints = re.findall(r"datamodule\.(?:separators=,|columns\.tags=genre)", said)
    run("describe", *hints)
    assert "24 tracks with tags" in capfd.readouterr().out


def test_tracks_with_several_genres_are_reported_and_refused(capfd):
    write(genre=[f"['{genre}', 'loud']" if n % 8 == 0 else genre for n, genre in enumerate(GENRES)])
    assert run("describe")["unreadable"] == 3
    said = capfd.readouterr().out
    assert "3 tracks have several values as genre, which a training refuses" in said
    assert "house/00.wav (train) = 'house', 'loud'" in said
    hint = re.search(r"datamodule\.columns\.tags=genre", said)[0]
    assert "house/00.wav (train): genre: 'house' and 'loud' given, expected one" in refused(capfd, "probe")
    assert run("describe", "datamodule.unknown_labels=drop")["tracks"] == 21
    run("describe", hint)
    assert "24 tracks with tags" in capfd.readouterr().out


OWN_TASK = """
import numpy as np
from experiments.tasks.base import Task


class Fast(Task):
    name, annotations, kind, primary, classes = "fast", ("tempo",), "values", "closeness", ("BPM",)
    options = {}

    def encode(self, annotation):
        return np.array([annotation], np.float32)

    def loss(self, outputs, targets):
        return ((outputs.float() - targets / 100) ** 2).mean()

    def decode(self, outputs):
        return 100 * np.asarray(outputs, np.float32)

    def score(self, predictions, references):
        return {"closeness": -float(np.abs(predictions - references).mean()), "n_items": float(len(references))}
"""


def test_a_task_of_the_users_own_is_described_and_probed(capfd, monkeypatch):
    Path("fast_music.py").write_text(OWN_TASK)
    monkeypatch.syspath_prepend(Path.cwd())
    write(tempo=BPM)
    assert run("describe", "datamodule.task=fast_music:Fast")["tracks"] == 24
    capfd.readouterr()
    assert "fast/embeddings/closeness" in run("probe", "probe.tasks=[fast_music:Fast]")
    assert "fast, 6 test tracks" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_form_of_accents_in_a_table_moves_no_track(capfd, form):
    names = [unicodedata.normalize(form, identity.replace("house", "m\u00fasica")) for identity in IDS]
    write(names, genre=GENRES)
    run("describe", "datamodule.base_dir=accents", "datamodule.splits=hashed")
    newest = max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    with (newest / "corpus_tracks.csv").open(newline="", encoding="utf-8") as handle:
        dealt = {row["path"]: row["split"] for row in csv.DictReader(handle)}
    assert dealt == {(name := unicodedata.normalize("NFC", one)): hashed_split(name) for one in names}
