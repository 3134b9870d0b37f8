"""The leaderboard and its report, on sweeps as `experiments.probes.records` writes them."""

from __future__ import annotations

import csv
import itertools
import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from pymongo import MongoClient

from ex_probe import ex
from experiments.errors import UserError
from experiments.intervals import interval
from experiments.leaderboard.sources import DatabaseSource, DiskSource, Wanted, moment
from experiments.probes.records import Score, predictions_name, save_predictions, write_scores
from experiments.tasks import Emotion, Genre, Key, Tagging, Tempo
from experiments.tracking import RunHandle
from experiments.tracking.apply import RunCopy
from experiments.tracking.journal import Journal, read
from experiments.tracking.run import Recorder
from experiments.tracking.server import EmbeddedServer

SCRIPT = str(Path(__file__).resolve().parents[3] / "ex_probe.py")
CLASSES = ("a", "b", "c", "d")
_started = itertools.count(1_700_000_000, 3600)


def genre_predictions(quality: float, n: int = 120, seeds: int = 1) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Predictions for n tracks, a share of which is right; a better system is right wherever a worse one is."""
    references = np.arange(n) % len(CLASSES)
    luck = np.random.default_rng(7).random(n)
    by_seed = []
    for seed in range(seeds):
        moved = luck + 0.02 * np.random.default_rng(seed).normal(size=n)
        chosen = np.where(moved < quality, references, (references + 1) % len(CLASSES))
        by_seed.append(np.eye(len(CLASSES), dtype=np.float32)[chosen])
    return [f"track{number}" for number in range(n)], np.stack(by_seed), references


def genre_score(encoder: str, quality: float, folder: Path, n: int = 120, seeds: int = 1, **more) -> Score:
    """A row and its file of predictions."""
    task, (ids, by_seed, references) = Genre(CLASSES), genre_predictions(quality, n, seeds)
    values = [task.score(one, references)["accuracy"] for one in by_seed]
    low, high = interval(task, by_seed[0], references, n=200)["accuracy"]
    about = {"block": "", "tokens": "", "kind": "probe", "split": "s1", "classes": "c1", "corpus": "demo"} | more
    name = predictions_name("genre", encoder, about["block"], about["tokens"])
    save_predictions(folder / name, ids, by_seed, references)
    return Score(
        task="genre", encoder=encoder, metric="accuracy", score=float(np.mean(values)), low=low, high=high,
        seeds=values,
        n=n, predictions=name, aggregation="mean of windows", metrics={"accuracy": float(np.mean(values))}, **about,
    )  # fmt: skip


def sweep(runs: Path, make, group: str | None = None, experiment: str = "ex_probe", **info) -> Path:
    """A run that ended, with the scores that `make(folder)` gives."""
    journal = Journal.create(runs, home=runs.parent / "home")
    run = RunHandle(journal.directory, 0, Recorder(journal))
    me, when = psutil.Process(), float(next(_started))
    document = {
        "format": "MongoObserver-0.7.0", "command": "main", "status": "RUNNING", "start_time": when, "heartbeat": when,
        "experiment": {"name": experiment, "sources": []}, "config": {"seed": 0}, "host": {"hostname": "here"},
        "meta": {"comment": "", "group": group}, "info": {}, "result": None, "captured_out": "",
        "ostinato": {"host": socket.gethostname(), "pid": me.pid, "pid_started": me.create_time()},
    }  # fmt: skip
    journal.append("start", document=document, sources=[])
    scores = make(run.directory)
    for score in scores:
        if (run.directory / score.predictions).is_file():
            run.add_artifact(run.directory / score.predictions)
    if scores:
        write_scores(scores, run)
    run.set_info(**info)
    journal.append("end", status="COMPLETED", stop_time=when + 60, result=None, fail_trace=None)
    journal.close()
    return run.directory


def three(folder: Path) -> list[Score]:
    """An encoder with blocks and tokens, a worse one, and a baseline."""
    grid = [
        genre_score("mine", quality, folder, block=block, tokens=tokens, valid=quality, network=f"net{block}", seeds=2)
        for (block, tokens), quality in {
            (2, "cls"): 0.5, (2, "mean"): 0.6, (6, "cls"): 0.8, (6, "mean"): 0.7, ("sum", "cls"): 0.75,
        }.items()
    ]  # fmt: skip
    return [
        *grid,
        genre_score("random weights", 0.35, folder, block=2, tokens="cls", valid=0.3),
        genre_score("constant answer", 0.25, folder, kind="baseline"),  # its name in earlier versions
    ]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """A folder of runs, entered from above; no database is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    for name in ("OSTINATO_MONGO_URL", "OSTINATO_MONGO_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "runs"


def report(*words: str, mongo: str = "off") -> dict[str, float]:
    return ex.run_commandline([SCRIPT, "report", "with", f"tracking.mongo={mongo}", "report.resamples=200", *words])


def fails(capsys, *words: str) -> str:
    """What a report that cannot be made says."""
    with pytest.raises(SystemExit) as ended:
        report(*words)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


def newest(runs: Path) -> Path:
    return max((path.parent for path in runs.glob("*/journal.jsonl")), key=lambda path: path.stat().st_mtime_ns)


def table(runs: Path, name: str = "leaderboard.csv") -> list[dict[str, str]]:
    with (newest(runs) / "files" / name).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_without_a_database_the_report_is_made_of_the_runs_on_disk(runs, capsys):
    sweep(runs, three)
    sweep(runs, lambda folder: [], sweep="1", experiment="ex_probe")
    result = report()
    assert result == {
        "genre/demo/mine/accuracy": pytest.approx(0.8, abs=0.06),
        "genre/demo/random weights/accuracy": pytest.approx(0.35, abs=0.1),
        "genre/demo/majority class or mean/accuracy": pytest.approx(0.25, abs=0.1),
    }
    said = capsys.readouterr()
    assert "(block 6, cls)*" in said.out
    assert "Per cent ± half of the 95 % interval over tracks and seeds; * the highest" in said.out
    assert "chosen on validation" in said.out
    assert "mine is ahead of random weights by" in said.out
    assert "more than chance" in said.out
    assert "3 pairs" in said.out
    assert "leaderboard.html" in said.err
    files = {path.name for path in (newest(runs) / "files").iterdir()}
    pictures = {"heatmap_genre_demo.png", "blocks_genre_demo.png", "leaderboard_genre_demo.png"}
    assert {"leaderboard.csv", "leaderboard.md", "leaderboard.html", "comparisons.csv"} | pictures <= files
    rows = table(runs)
    assert len(rows) == 7
    assert [row["block"] for row in rows if row["chosen"] == "1" and row["encoder"] == "mine"] == ["6"]
    assert {row["split"] for row in rows} == {"s1"}


def test_the_page_breaks_long_names_and_marks_the_highest_once(runs):
    sweep(runs, lambda folder: [*three(folder), genre_score("mine", 0.9, folder, corpus="a_b+c", split="s2")])
    report()
    page = (newest(runs) / "files" / "leaderboard.html").read_text(encoding="utf-8")
    assert "genre, a_<wbr>b+<wbr>c: " in page
    assert "<div class=wide><table>" in page
    assert page.count("<td class=best>") == 1
    assert "*" not in page.partition("<h2>")[0].partition("<table>")[2]
    assert "the highest in bold" in page


def test_an_interval_is_the_same_in_every_table_and_is_one_of_shares(runs, capsys):
    sweep(runs, lambda folder: [genre_score("mine", 0.97, folder, n=10, seeds=2)])
    report()
    (row,) = table(runs)
    value, low, high = (100 * float(row[key]) for key in ("score", "low", "high"))
    assert 0 <= low <= value <= high <= 100
    assert f"{value:.1f} ± {(high - low) / 2:.1f}" in capsys.readouterr().out


def test_scores_of_other_tracks_or_classes_stand_apart(runs, capsys):
    sweep(runs, three)
    sweep(runs, lambda folder: [genre_score("mine", 0.9, folder, split="s2", n=80, block=6, network="net6")])
    report()
    said = capsys.readouterr().out
    assert "genre, demo #1" in said
    assert "2 tests that cannot be compared" in said
    assert "split s2" in said
    assert {row["ahead"] for row in table(runs, "comparisons.csv")} == {"mine", "random weights"}


def test_the_latest_run_counts_unless_all_are_asked_for(runs, capsys):
    sweep(runs, lambda folder: [genre_score("mine", 0.4, folder, block=2, network="x")])
    later = sweep(runs, lambda folder: [genre_score("mine", 0.7, folder, block=2, network="x")])
    assert report() == {"genre/demo/mine/accuracy": pytest.approx(0.7, abs=0.08)}
    assert "report.repeats=all" in capsys.readouterr().err
    both = report("report.repeats=all")
    assert len(both) == 2
    assert f"genre/demo/mine, run {later.name}/accuracy" in both
    assert "not compared" not in capsys.readouterr().out


def test_one_name_of_two_networks_is_two_encoders(runs):
    first = sweep(runs, lambda folder: [genre_score("mine", 0.4, folder, block=b, network=f"x{b}") for b in (1, 2)])
    second = sweep(runs, lambda folder: [genre_score("mine", 0.7, folder, block=2, network="y")])
    assert {name.split("/")[2] for name in report()} == {f"mine (run {first.name})", f"mine (run {second.name})"}


def test_filters(runs, capsys):
    sweep(runs, three, group="study")
    key = sweep(runs, lambda folder: [genre_score("other", 0.7, folder)]).name
    assert len(report("report.encoders=[mine,other]")) == 2
    assert len(report(f"report.runs=[{key}]")) == 1
    assert len(report("report.group=study")) == 3
    assert len(report("report.since=2000-01-01")) == 4
    capsys.readouterr()
    assert "did you mean 'mine'" in fails(capsys, "report.encoders=[mien]")
    assert "demo" in fails(capsys, "report.corpora=[gtzan]")
    assert "unknown task of a sweep 'tagging'" in fails(capsys, "report.tasks=[tagging]")
    assert "did you mean 'genre'" in fails(capsys, "report.tasks=[gener]")
    assert key in fails(capsys, "report.since=1h")
    assert key in fails(capsys, "report.runs=[77]")
    assert "is no run with scores" in fails(capsys, f"report.runs=[{key},77]")
    assert "expected a date" in fails(capsys, "report.since=yesterday")


def test_without_sweeps_it_says_what_to_run(runs, capsys):
    assert "python ex_probe.py with" in fails(capsys)
    assert "report.source=database" in fails(capsys, "report.source=database")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder, name: (folder / "files" / name).unlink(), "is missing"),
        (lambda folder, name: (folder / "files" / name).write_bytes(b"no"), "does not hold predictions"),
        (
            lambda folder, name: save_predictions(
                folder / "files" / name,
                *(lambda ids, p, r: ([f"{one}x" for one in ids], p, r))(*genre_predictions(0.35)),
            ),
            "for other items",
        ),
        (
            lambda folder, name: save_predictions(
                folder / "files" / name, *(lambda ids, p, r: (ids, p, (r + 1) % 4))(*genre_predictions(0.35))
            ),
            "other annotations",
        ),
        (lambda folder, name: save_predictions(folder / "files" / name, *genre_predictions(0.9)), "was reported"),
    ],
)
def test_a_row_whose_predictions_are_of_no_use_is_kept_and_not_compared(runs, capsys, spoil, why):
    spoil(sweep(runs, three), "predictions_genre_random-weights_2_cls.npz")
    assert len(report()) == 3
    said = capsys.readouterr().out
    assert "random weights is not compared" in said
    assert why in said
    assert "mine is ahead of majority class or mean" in said


def test_a_torn_journal_and_a_row_that_is_none_do_no_harm(runs, capsys):
    kept = sweep(runs, three)
    torn = sweep(runs, three)
    lines = (torn / "journal.jsonl").read_bytes().splitlines(keepends=True)
    cut = next(number for number, line in enumerate(lines) if b'"info.scores"' in line)
    (torn / "journal.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:2000])
    assert [one.key for one in DiskSource(runs).sweeps(Wanted())] in ([kept.name], sorted([kept.name, torn.name]))
    assert len(report()) == 3


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "start", "document": "text"},
        {"kind": "start", "document": {"config": [5]}},
        {"kind": "start", "document": {"start_time": 10**400}},
        {"kind": "artifact", "file": "files/x"},
        {"kind": "info", "set": ["info.scores"]},
    ],
    ids=str,
)
def test_a_journal_that_is_not_as_runs_write_it_is_named_and_left_out(runs, caplog, line):
    kept = sweep(runs, three)
    other = runs / "other" / "journal.jsonl"
    other.parent.mkdir()
    marked = {"kind": "info", "set": {"info.scores": []}}
    lines = [line, marked] if line["kind"] == "start" else [{"kind": "start", "document": {}}, line, marked]
    other.write_text("".join(json.dumps({"seq": n, "time": 1.0} | one) + "\n" for n, one in enumerate(lines, 1)))
    assert [one.key for one in DiskSource(runs).sweeps(Wanted())] == [kept.name]
    assert f"{other} is left out: not as a run writes it" in caplog.text


def test_a_journal_leads_to_no_file_outside_of_its_folder(runs, tmp_path):
    folder = sweep(runs, three)
    (tmp_path / "secret.npz").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret.npz")
    (found,) = DiskSource(runs).sweeps(Wanted())
    for place in (str(tmp_path / "secret.npz"), "../../secret.npz", "link"):
        assert DiskSource(runs).artifact(replace(found, artifacts={"x": place}), "x") is None
    os.mkfifo(runs / "pipe")
    (runs / "waits").mkdir()
    (runs / "waits" / "journal.jsonl").symlink_to(runs / "pipe")
    assert len(DiskSource(runs).sweeps(Wanted())) == 1


def test_a_score_that_is_no_number_is_left_out(runs, capsys):
    sweep(runs, lambda folder: [*three(folder), replace(genre_score("bad", 0.5, folder), score=float("nan"))])
    assert len(report()) == 3
    assert "1 score is not finite" in capsys.readouterr().err


def scored(task, predictions, references) -> tuple[dict[str, float], tuple[float, float]]:
    values = task.score(predictions, references)
    return values, interval(task, predictions, references, n=100)[task.primary]


def test_every_task_is_compared(runs, capsys):
    rng, n = np.random.default_rng(0), 60
    tags = (rng.random((n, 3)) < 0.4).astype(np.float32)
    values = rng.normal(size=(n, 2)).astype(np.float32) + 5
    tempi = rng.uniform(60, 180, n).astype(np.float32)
    keys = np.arange(n) % 24
    cases = [
        (Tagging(CLASSES[:3]), tags, lambda noise: np.clip(tags * 0.5 + noise * rng.random((n, 3)), 0, 1)),
        (Emotion([5, 5], [1, 1]), values, lambda noise: values + noise * rng.normal(size=(n, 2))),
        (
            Tempo(),
            tempi,
            lambda noise: np.eye(Tempo().n_outputs)[np.rint(tempi + 20 * noise * (noise > 1)).astype(int) - 30],
        ),
        (Key(), keys, lambda noise: np.eye(24)[np.where(rng.random(n) < 1 / (1 + noise), keys, (keys + 1) % 24)]),
    ]

    def make(folder: Path) -> list[Score]:
        scores = []
        for task, references, predict in cases:
            for encoder, noise in (("good", 0.3), ("poor", 3.0)):
                predictions = predict(noise).astype(np.float32)
                found, (low, high) = scored(task, predictions, references)
                name = predictions_name(task.name, encoder)
                save_predictions(folder / name, [str(i) for i in range(n)], predictions[None], references)
                value = found[task.primary]
                scores.append(
                    Score(task.name, "demo", encoder, "probe", task.primary, value, low, high, [value], n, "s", "c",
                          predictions=name)
                )  # fmt: skip
        return scores

    sweep(runs, make)
    assert len(report()) == 8
    said = capsys.readouterr().out
    assert said.count("good is ahead of poor") == 4
    assert "compared with none" not in said


@pytest.fixture(scope="module")
def mongo(tmp_path_factory):
    """A server of this module's own: its URL without a database."""
    server = EmbeddedServer(tmp_path_factory.mktemp("server"))
    yield server.acquire()
    server.release()


@pytest.fixture
def database(mongo):
    name = f"report{os.getpid()}_{next(_started)}"
    with MongoClient(mongo) as client:
        yield client[name]
        client.drop_database(name)


def send(folder: Path, database) -> int:
    copy = RunCopy(folder)
    copy.attach(database)
    for record in read(folder):
        copy.apply(record)
    copy.flush()
    return copy.run_id


def test_from_the_database_it_is_the_same_report(runs, database, capsys, monkeypatch):
    number = send(sweep(runs, three), database)
    for folder in [sweep(runs, lambda folder: [], sweep=number) for _ in range(3)]:
        send(folder, database)
    on_disk = report("report.source=disk")
    rows, pairs = table(runs), table(runs, "comparisons.csv")
    url = database.client.address
    monkeypatch.setenv("OSTINATO_MONGO_URL", f"mongodb://{url[0].replace('/', '%2F')}/{database.name}")
    assert report(mongo="auto") == on_disk
    assert "more than chance" in capsys.readouterr().out
    for mine, theirs in zip(table(runs), rows, strict=True):
        assert mine | {"run": "", "started": ""} == theirs | {"run": "", "started": ""}
        assert mine["run"] == str(number)
    assert table(runs, "comparisons.csv") == pairs
    stored = database["runs"].find_one({"command": "report"})
    assert stored["status"] == "COMPLETED"
    assert {"leaderboard.html", "leaderboard.csv", "heatmap_genre_demo.png"} <= {
        one["name"] for one in stored["artifacts"]
    }


def test_child_runs_are_not_read(runs, database):
    send(sweep(runs, three), database)
    for folder in [sweep(runs, lambda folder: [], sweep=1) for _ in range(5)]:
        send(folder, database)
    source = DatabaseSource(database, "here")
    assert len(source.sweeps(Wanted())) == 1
    plan = database["runs"].find({"info.scores.task": {"$exists": True}}).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 1


def test_scores_too_many_for_the_document_are_read_from_their_table(runs, database, monkeypatch):
    monkeypatch.setattr("experiments.tracking.information.LIMIT", 1000)
    send(sweep(runs, three), database)
    (found,) = DatabaseSource(database, "here").sweeps(Wanted())
    assert "scores" not in database["runs"].find_one()["info"]
    assert len(found.scores) == 7


def test_a_database_that_does_not_answer_is_named_with_a_way_out(runs, capsys, monkeypatch):
    monkeypatch.setenv("OSTINATO_MONGO_URL", "mongodb://127.0.0.1:9/runs")
    monkeypatch.setattr("experiments.tracking.location.PATIENCE", {"serverSelectionTimeoutMS": 100})
    sweep(runs, three)
    with pytest.raises(SystemExit):
        report("tracking.drain_seconds=0", mongo="auto")
    said = capsys.readouterr().err
    assert "mongodb://127.0.0.1:9/runs cannot be read (127.0.0.1:9: [Errno 111] Connection refused); " in said
    assert "report.source=disk" in said


def test_moments():
    assert moment(None) is None
    assert moment("7d", now=1e6) == 1e6 - 7 * 86400
    assert moment("2026-11-01") == time.mktime((2026, 11, 1, 0, 0, 0, 0, 0, -1))
    with pytest.raises(UserError, match=r"report\.since=7"):
        moment("7")
