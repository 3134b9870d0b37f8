"""What a recorded run leaves behind, on disk, in the database and on the terminal."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import UserError
from experiments.tracking import RunHandle, location
from experiments.tracking.commandline import VERBS
from experiments.tracking.liveness import end_of
from tests.experiments.tracking.tiny_runs import (
    OFF,
    PASSWORD,
    TOKEN,
    URL,
    Run,
    made,
    one_run,
    start_of,
    tiny,
)


def test_run_document(run: Run, tmp_path: Path) -> None:
    result = run(
        "main", "-c", "a remark", "-n", "renamed", "with", "small", "target_mtt", OFF, "seed=3",
        "tracking.tags=[first]", "tracking.group=study",
    )  # fmt: skip
    assert result == {"val": {"map": 0.5}}
    directory = one_run(tmp_path)
    record = start_of(directory)
    document = record["document"]
    assert document["experiment"]["name"] == "renamed"
    assert document["format"] == "MongoObserver-0.7.0"
    assert document["command"] == "main"
    assert document["status"] == "RUNNING"
    assert document["omniboard"] == {"tags": ["small", "target_mtt", "first"]}
    assert document["config"]["model"] == {"width": 1, "blocks": [1, 2], "optimizer": {"lr": 0.1, "momentum": None}}
    assert document["config"]["seed"] == 3
    assert "tags" not in document["config"]["tracking"]
    assert document["meta"]["comment"] == "a remark"
    assert document["meta"]["named_configs"] == ["small", "target_mtt"]
    assert document["meta"]["config_updates"]["seed"] == 3
    assert document["meta"]["group"] == "study"
    assert document["meta"]["argv"][1:4] == ["main", "-c", "a remark"]
    assert document["info"]["delta"] == {"seed": 3, "model": {"width": 1}, "target": {"name": "mtt", "api_token": None}}
    assert "ENV" not in document["host"]
    assert any(entry.startswith("torch==") for entry in document["experiment"]["dependencies"])
    assert document["ostinato"]["key"] == directory.name
    assert document["ostinato"]["pid"] == os.getpid()
    assert "changed" not in record
    end = end_of(directory)
    assert end["status"] == "COMPLETED"
    assert end["result"] == {"val/map": 0.5}


def test_sources_are_kept_once_per_content(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        run("with", OFF)
    first, second = sorted(tmp_path.glob("runs/2*"))
    sources = start_of(first)["sources"]
    assert {source["path"] for source in sources} >= {"ex_tiny.py", "tests/experiments/tracking/ex_tiny.py"} & {
        source["path"] for source in sources
    }
    assert any(source["path"] == "experiments/tracking/experiment.py" for source in sources)
    for source in sources:
        kept = first / source["file"]
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == source["sha256"]
        assert kept.samefile(second / source["file"])


def test_f20_earlier_run_with_the_same_settings_is_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("with", OFF, "small")
    first = one_run(tmp_path)
    capsys.readouterr()
    run("with", OFF, "model.width=1", "tracking.group=other")  # the same by another way
    assert f"Run {first.name} (completed) had the same settings" in capsys.readouterr().err
    run("with", OFF, "small", "seed=8")
    assert "had the same settings" not in capsys.readouterr().err
    documents = [start_of(directory)["document"] for directory in tmp_path.glob("runs/2*")]
    documents.sort(key=lambda document: document["start_time"])
    prints = [document["info"]["fingerprint"] for document in documents]
    assert prints[0] == prints[1] != prints[2]


def test_unobserved_run_leaves_nothing(run: Run, tmp_path: Path, home: Path) -> None:
    seen: list[Path] = []

    def main(settings: Any, handle: RunHandle) -> int:
        handle.log_scalar("train/loss", 1.0, 0)
        (handle.directory / "file").write_text("x")
        seen.append(handle.directory)
        assert handle.is_global_zero
        return 5

    assert run("-u", experiment=made(main)) == 5
    assert not seen[0].exists()
    assert list(tmp_path.iterdir()) == []


def test_sacreds_own_files_on_request(run: Run, tmp_path: Path) -> None:
    run("-F", "files", "with", OFF, "small")
    directory = one_run(tmp_path)
    files = tmp_path / "files" / directory.name
    assert json.loads((files / "config.json").read_text())["model"]["width"] == 1
    assert json.loads((files / "metrics.json").read_text())["train/loss"]["steps"] == [0, 1, 2, 3, 4]


def test_print_config_before_the_run(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run("-p", "with", OFF, "small")
    assert "width = 1" in capsys.readouterr().out
    assert one_run(tmp_path)


def test_commands_get_typed_settings_without_the_password(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []

    def main(settings: Any, handle: RunHandle) -> None:
        seen.append((settings, os.environ["OSTINATO_RUN"], os.environ["OSTINATO_SEED"], handle))

    run("with", f"tracking.mongo_url={URL}", "tracking.drain_seconds=0", experiment=made(main))
    settings, key, seed, handle = seen[0]
    assert isinstance(settings, tiny.Tiny)
    assert PASSWORD not in repr(settings)
    assert (handle.key, handle.seed) == (key, int(seed))
    assert "OSTINATO_RUN" not in os.environ
    said = capsys.readouterr().err
    assert "records are still to be sent; send them with: python" in said
    assert said.count("holds a password") == 1


def test_no_secret_reaches_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in an override and in an exception, a token in a config value: nowhere in the run's files."""

    def main(settings: Any, handle: RunHandle) -> None:
        print(f"the token is {settings.target.api_token}")
        handle.set_info(database=URL)
        raise RuntimeError(f"cannot reach {URL}")

    with pytest.raises(SystemExit):
        run(
            "-F", "files", "with", "target_mtt", f"target.api_token={TOKEN}", "tracking.drain_seconds=0",
            f"tracking.mongo_url={URL}",
            experiment=made(main),
        )  # fmt: skip
    for path in tmp_path.rglob("*"):
        if path.is_file() and "sources" not in path.parts and ".sources" not in path.parts:
            content = path.read_bytes()
            assert PASSWORD.encode() not in content, path
            assert TOKEN.encode() not in content, path


def test_required_database_that_is_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(self: object) -> str:
        raise UserError("no mongod for this machine")

    monkeypatch.setattr(location.EmbeddedServer, "acquire", missing)
    with pytest.raises(SystemExit):
        run("with", "tracking.mongo=required")
    assert "no mongod for this machine" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    run("with")
    assert "No MongoDB here (no mongod for this machine)" in capsys.readouterr().err
    assert end_of(one_run(tmp_path))["status"] == "COMPLETED"


def test_run_directory_that_cannot_be_made(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit):
        run("with", OFF, "tracking.runs_dir=file/runs")
    assert "tracking.runs_dir=file/runs: no run directory can be made there" in capsys.readouterr().err


def test_enforced_clean_tree_is_looked_at_first(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = made(lambda settings, handle: None)
    monkeypatch.setattr(experiment, "script", tmp_path / "ex_made.py")
    with pytest.raises(SystemExit):
        run("-e", "with", OFF, experiment=experiment)
    assert "-e: cannot tell whether all changes are committed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_streams_are_given_back(run: Run) -> None:
    before = (sys.stdout, sys.stderr)
    run("with", OFF)
    assert (sys.stdout, sys.stderr) == before


def test_verbs_are_named_in_the_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("-h")
    said = capsys.readouterr().out
    assert all(f"python ex_tiny.py {verb}" in said for verb in VERBS)
    assert "--mongo_db" not in said


def test_sync_sends_what_was_recorded_without_a_database(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], database: Any, mongo_url: str, monkeypatch: Any
) -> None:
    run("with", OFF)
    monkeypatch.setenv("OSTINATO_MONGO_URL", _with_database(mongo_url, database.name))
    run("sync")
    assert "1 run(s) complete in the database: 1" in capsys.readouterr().out
    document = database.runs.find_one({"_id": 1})
    assert document["status"] == "COMPLETED"
    assert "last words" in document["captured_out"]
    run("sync")
    assert "nothing to send" in capsys.readouterr().out


def test_run_in_the_database(
    run: Run, tmp_path: Path, database: Any, mongo_url: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSTINATO_MONGO_URL", _with_database(mongo_url, database.name))
    with pytest.raises(SystemExit):
        run("with", "end=raise", "small")
    document = database.runs.find_one()
    assert document["_id"] == 1
    assert document["status"] == "FAILED"
    assert document["config"]["model"]["width"] == 1
    assert document["omniboard"]["tags"] == ["small"]
    assert "last words\n" in document["captured_out"]
    assert "RuntimeError: boom" in document["captured_out"]
    assert document["fail_trace"][-1] == "RuntimeError: boom\n"
    assert {artifact["name"] for artifact in document["artifacts"]} >= {"run.log", "metrics.parquet"}
    (series,) = database.metrics.find({"name": "train/loss"})
    assert series["steps"] == [0, 1, 2, 3, 4]
    assert document["info"]["segments"][0]["host"] == document["host"]["hostname"]
    said = capsys.readouterr().err
    assert "Run 1 started" in said
    assert "Run 1 failed" in said


def _with_database(url: str, name: str) -> str:
    head, _, _ = url.rpartition("/")
    return f"{head}/{name}"


def secrets_in(values: Sequence[Any]) -> bool:
    return any(PASSWORD in repr(value) or TOKEN in repr(value) for value in values)


def test_no_secret_reaches_the_database(run: Run, database: Any, mongo_url: str, monkeypatch: Any) -> None:
    def main(settings: Any, handle: RunHandle) -> None:
        print(f"the token is {settings.target.api_token}")
        raise RuntimeError(f"refused: token={settings.target.api_token} at {URL}")

    monkeypatch.setenv("OSTINATO_MONGO_URL", _with_database(mongo_url, database.name))
    with pytest.raises(SystemExit):
        run("with", "target_mtt", f"target.api_token={TOKEN}", experiment=made(main))
    assert database.runs.count_documents({}) == 1
    sources = {identity for _, identity in database.runs.find_one()["experiment"]["sources"]}
    assert not secrets_in(list(database.runs.find()))
    assert not secrets_in([chunk for chunk in database.fs.chunks.find() if chunk["files_id"] not in sources])


@pytest.mark.parametrize(
    "login", ["lab:{}/9", "domain/lab:{}", "lab:x@{}", "lab:{}' \"x"], ids=["slash", "user", "at", "quotes"]
)
def test_a_login_that_is_not_escaped_is_refused_before_anything_is_made(
    login: str, run: Run, monkeypatch, capfd, tmp_path
) -> None:
    monkeypatch.setenv("OSTINATO_MONGO_URL", f"mongodb://{login.format(PASSWORD)}@127.0.0.1:1/db")
    with pytest.raises(SystemExit) as left:
        run()
    said = capfd.readouterr().err
    assert left.value.code == 1
    assert "must be escaped: / as %2F" in said
    assert PASSWORD not in said
    assert not (tmp_path / "runs").exists()


def test_an_error_of_a_command_shows_no_password_on_the_terminal_and_in_the_log(run: Run, capfd, tmp_path) -> None:
    def main(settings: Any, handle: RunHandle) -> None:
        logging.getLogger("experiments.made").warning("cannot reach %s", f"mongodb://lab:{PASSWORD}/9@host/db")
        raise RuntimeError(f"mongodb://lab:{PASSWORD}' 9@host/db?tlsCertificateKeyFilePassword={TOKEN} is not there")

    with pytest.raises(SystemExit):
        run("with", OFF, experiment=made(main))
    said = capfd.readouterr().err
    assert "cannot reach mongodb://***@host/db" in said
    assert "RuntimeError: mongodb://***@host/db" in said
    assert not {PASSWORD, TOKEN} & set(re.findall(r"\w+", said))
    for path in one_run(tmp_path).glob("*.*"):
        assert PASSWORD not in path.read_text()
        assert TOKEN not in path.read_text()
