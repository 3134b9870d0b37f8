"""A tagger trained, evaluated with thresholds that are fitted, and applied with them, by the commands of a user."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from models.checkpoints import read_metadata

OFF = ["tracking.mongo=off", "trainer.accelerator=cpu"]


def run(*arguments: str) -> dict:
    from ex_transfer import ex

    return ex.run_commandline([str(Path(__file__).resolve().parents[3] / "ex_transfer.py"), *arguments, *OFF])


@pytest.fixture(scope="module")
def trained(tiny_corpus, tmp_path_factory):
    """A narrow FCN after a few steps, and its test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tagger"))
        Path("audio").symlink_to(tiny_corpus / "audio")
        Path("tracks.csv").write_bytes((tiny_corpus / "tracks.csv").read_bytes())
        words = ["datamodule.base_dir=audio", "datamodule.groundtruth=tracks.csv", "datamodule.task=tagging"]
        result = run("with", "fcn", "debug", "trainer.checkpoint_dir=kept", "trainer.max_epochs=1", *words)
        yield words, result


def test_the_best_checkpoint_has_thresholds_and_the_test_uses_them(trained):
    _, result = trained
    thresholds = read_metadata("kept/best.ckpt")["thresholds"]
    assert thresholds["tags"] == read_metadata("kept/best.ckpt")["labels"]
    assert {"test/roc_auc", "test/ap", "test/roc_auc_micro", "test/ap_micro", "test/f1_micro"} <= result.keys()
    assert result["test/tags_per_track"] >= 0
    assert 0 <= result["test/untagged"] <= 1


def test_an_evaluation_fits_thresholds_and_a_prediction_takes_them(trained, capsys):
    words, result = trained
    given = ["inference.checkpoint=kept/best.ckpt", *words]
    with pytest.raises(SystemExit):
        run("evaluate", "with", *given, "inference.out_dir=elsewhere")
    assert "inference.out_dir=elsewhere: an evaluation leaves its files with the run" in capsys.readouterr().err
    found = run("evaluate", "with", *given, "inference.fit_thresholds=True")
    assert found == pytest.approx({name: value for name, value in result.items() if name.startswith("test/")})
    said = capsys.readouterr()
    assert "next: python ex_transfer.py predict with inference.checkpoint=kept/best.ckpt" in said.err
    assert "left out of the means" in said.err
    assert said.out.splitlines()[0].split() == ["tag", "n", "roc_auc", "ap"]
    (file,) = Path("runs").glob("*/thresholds.json")
    entry = json.loads(file.read_text())
    kept = read_metadata("kept/best.ckpt")["thresholds"]
    assert {key: entry[key] for key in ("tags", "split", "tracks")} == {
        key: kept[key] for key in ("tags", "split", "tracks")
    }
    assert entry["values"] == pytest.approx(kept["values"], abs=1e-6)
    with (file.parent / "per_class_test.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["class"] for row in rows if not row["roc_auc"]]
    assert len(rows) == len(entry["tags"])
    song = min(Path("audio").rglob("*.flac"))
    apply = ["predict", "with", "inference.checkpoint=kept/best.ckpt", f"inference.audio={song}"]
    run(*apply, f"inference.thresholds={file}", "inference.out_dir=out")
    (predicted,) = json.loads(Path("out/predictions.json").read_text())
    assert predicted["selection"]["source"] == f"inference.thresholds={file}"
    entry["tags"][0] = "another"
    Path("other.json").write_text(json.dumps(entry))
    with pytest.raises(SystemExit):
        run(*apply, "inference.thresholds=other.json", "inference.out_dir=out")
    assert "tag 0 is 'another' there" in capsys.readouterr().err


def test_thresholds_do_not_go_to_a_network_that_starts_from_the_weights(trained, capsys):
    words, _ = trained
    genre = [word.replace("tagging", "genre") for word in words]
    run("with", "fcn", "debug", "model.checkpoint=kept/best.ckpt", "trainer.checkpoint_dir=genre", *genre)
    assert "thresholds" not in read_metadata("genre/best.ckpt")
    with pytest.raises(SystemExit):
        run("evaluate", "with", "inference.checkpoint=genre/best.ckpt", *genre, "inference.fit_thresholds=True")
    assert "inference.fit_thresholds is for tags, and genre has none" in capsys.readouterr().err
