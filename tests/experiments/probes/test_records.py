"""Rows and predictions of a sweep come back as they were written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.probes.records import (
    Score,
    load_predictions,
    predictions_name,
    read_scores,
    read_scores_csv,
    save_predictions,
    write_scores,
)
from experiments.tracking import RunHandle
from experiments.tracking.journal import Journal, read
from experiments.tracking.run import Recorder

PROBE = Score(
    task="genre",
    corpus="demo",
    encoder="mine",
    kind="probe",
    metric="accuracy",
    score=0.852,
    low=0.81,
    high=0.89,
    seeds=[0.85, 0.854],
    n=290,
    split="ab",
    classes="cd",
    network="ef",
    block=6,
    tokens="cls+dist",
    pooling="mean",
    aggregation="mean of patches",
    config={"hidden": None, "l2": 1e-4},
    predictions="predictions_genre_mine_6_cls+dist.npz",
    metrics={"accuracy": 0.852, "macro_f1": 0.8},
)
BASELINE = Score(
    "genre", "demo", "majority class or mean", "baseline", "accuracy", 0.1, 0.05, 0.15, [0.1], 290, "ab", "cd"
)


def test_rows_come_back_from_the_record_and_from_the_table(tmp_path):
    journal = Journal.create(tmp_path, home=tmp_path)
    run = RunHandle(journal.directory, 0, Recorder(journal))
    table = write_scores([PROBE, BASELINE], run)
    journal.close()
    info = {key: value for record in read(journal.directory) for key, value in record.get("set", {}).items()}
    assert read_scores(info["info.scores"]) == read_scores_csv(table) == [PROBE, BASELINE]
    assert (journal.directory / "files" / "scores.csv").read_bytes() == table.read_bytes()
    assert PROBE.unit == "tracks"


def test_baselines_of_earlier_versions_have_their_present_name():
    row = BASELINE.plain() | {"encoder": "constant answer"}
    assert read_scores([row]) == [BASELINE]
    named = PROBE.plain() | {"encoder": "constant answer"}
    assert read_scores([named])[0].encoder == "constant answer"


def test_unknown_keys_are_passed_over_and_missing_ones_named(tmp_path):
    assert read_scores([PROBE.plain() | {"later": 1}]) == [PROBE]
    row = PROBE.plain()
    del row["low"]
    with pytest.raises(UserError, match=r"row 0.*'low'"):
        read_scores([row])
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not the scores"):
        read_scores_csv(tmp_path / "x.csv")
    with pytest.raises(UserError, match="no such table"):
        read_scores_csv(tmp_path / "gone.csv")


@pytest.mark.parametrize("seeds", [1, 3])
def test_predictions_come_back(tmp_path, seeds):
    given = np.random.default_rng(0).random((seeds, 4, 2), dtype=np.float32)
    path = save_predictions(tmp_path / "a.npz", ["x/1.ogg", "ü", "c", "d"], given, np.arange(4))
    kept = load_predictions(path)
    assert kept.ids == ["x/1.ogg", "ü", "c", "d"]
    np.testing.assert_array_equal(kept.predictions, given[0])
    np.testing.assert_array_equal(kept.by_seed, given)
    np.testing.assert_array_equal(kept.references, np.arange(4))
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_predictions_that_do_not_fit_or_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match="3 ids"):
        save_predictions(tmp_path / "a.npz", ["a", "b", "c"], np.zeros((1, 2, 5)), np.zeros(2))
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="no predictions"):
        load_predictions(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", ids=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="no predictions"):
        load_predictions(tmp_path / "c.npz")


def test_names_of_predictions_are_names_of_files():
    assert predictions_name("genre", "my net/2", 6, "cls+dist", "mean") == "predictions_genre_my-net-2_6_cls+dist.npz"
    assert predictions_name("tempo", "librosa tempo") == "predictions_tempo_librosa-tempo.npz"
    assert predictions_name("key", "a", "sum", "all", "max") == "predictions_key_a_sum_all_max.npz"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (5, "is a int, expected values by name"),
        ({"low": "x"}, "'low': "),
        ({"seeds": 3}, "'seeds': "),
        ({"kind": "guess"}, "'kind': "),
        ({"metrics": [1]}, "'metrics': "),
    ],
)
def test_rows_that_cannot_be_are_named(row, message):
    with pytest.raises(UserError, match=rf"row 0.*{message}"):
        read_scores([PROBE.plain() | row if isinstance(row, dict) else row])


def test_names_that_look_like_formulas_come_back(tmp_path):
    odd = replace(PROBE, encoder="=1+1", corpus="-mine", tokens="'@x")
    run = RunHandle(tmp_path, 0)
    table = write_scores([odd], run)
    assert "'=1+1" in table.read_text()
    assert read_scores_csv(table) == [odd]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_damaged_predictions_are_named(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: no predictions of a sweep"):
        load_predictions(tmp_path / "a.npz")
