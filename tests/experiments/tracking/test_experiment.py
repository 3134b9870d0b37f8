"""The command line: what is refused before anything happens, and what a recorded run leaves behind."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments import renamed
from experiments.errors import UserError
from experiments.tracking import Experiment, RunHandle, location
from experiments.tracking.commandline import VERBS
from experiments.tracking.journal import read
from experiments.tracking.liveness import end_of

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")
OFF = "tracking.mongo=off"
PASSWORD, TOKEN = f"qz{7}vault", f"tok{3}nvalue"  # put together, so that the kept sources do not hold them
URL = f"mongodb://me:{PASSWORD}@127.0.0.1:1/db"

Run = Callable[..., Any]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("ex_tiny", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tiny = load()


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Do what a command line of the tiny experiment asks for, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def obey(*words: str, experiment: Experiment = tiny.ex) -> Any:
        return experiment.run_commandline([str(SCRIPT), *words])

    return obey


def one_run(folder: Path) -> Path:
    (directory,) = folder.glob("runs/2*")
    return directory


def start_of(directory: Path) -> dict[str, Any]:
    return next(record for record in read(directory) if record["kind"] == "start")


def made(function: Callable[[Any, RunHandle], Any], name: str = "ex_made") -> Experiment:
    """An experiment whose main command is `function`."""
    experiment = Experiment(name, tiny.Tiny, tiny.NAMED)
    function.__name__ = "main"
    experiment.main(function)
    return experiment


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["print_config", "with", "small"], 0, "width = 1"),
        (["help"], 0, "print_named_configs"),
        (["with", "model.optimizer.rl=1"], 1, "did you mean model.optimizer.lr?"),
    ],
)
def test_questions_and_typos_touch_nothing(words: list[str], code: int, said: str, home: Path, tmp_path: Path) -> None:
    """No folder, no server, and an answer without the libraries that take seconds to load."""
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    loaded = set(re.findall(r"^import time:.*\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "sacred" in loaded
    assert not loaded & {"torch", "lightning", "pymongo", "matplotlib", "pandas"}
    assert list(folder.iterdir()) == []
    assert not home.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_several_processes_do_not_begin_what_one_does_alone(rank: int, monkeypatch, capsys) -> None:
    launched = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    for name, value in launched.items():
        monkeypatch.setenv(name, str(value))
    experiment = Experiment("ex_made", tiny.Tiny, tiny.NAMED, alone=["main"])
    experiment.main(tiny.main)
    with pytest.raises(SystemExit) as left:
        experiment.run_commandline(["ex_made.py"])
    assert left.value.code == 1
    said = "error: main is done by one process, and torchrun started 2: start it by itself"
    assert (said in capsys.readouterr().err) == (rank == 0)


def test_heavy_libraries_are_not_imported_for_a_question() -> None:
    code = (
        "import sys, experiments.settings; "
        "from experiments.tracking import ChildRun, Experiment, RunHandle, TrackingSettings; "
        "print(sorted({'torch', 'lightning', 'pymongo', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["with", "sed=1"], "did you mean seed?"),
        (["with", "model.widht=1"], "did you mean model.width?"),
        (["with", "model.optimizer.momentun=1"], "did you mean model.optimizer.momentum?"),
        (["with", "smal"], "did you mean 'small'?"),
        (["with", "model.width=0"], "model.width=0: should be greater than or equal to 1"),
        (["with", "model.optimizer.lr=abc"], "model.optimizer.lr=abc: should be a valid number"),
        (["mian"], "no command 'mian': did you mean 'main'?"),
        (["model.width=3"], "'with' is missing; write: python ex_tiny.py with model.width=3"),
        (["main", "small", "seed=3"], "write: python ex_tiny.py main with small seed=3"),
        (["main", "42"], "42: a command takes settings after 'with'"),
        (["-i", "500"], "-i (--id) is not used here: runs are numbered by the database"),
        (["-m", "db"], "set tracking.mongo_url or the variable OSTINATO_MONGO_URL"),
        (["-s", "sqlite://"], "-s (--sql)"),
        (["-t", "db"], "-t (--tiny_db)"),
        (["-S", "bucket"], "-S (--s3)"),
        (["-C", "no"], "set tracking.capture"),
        (["-q"], "runs are not queued"),
        (["-f"], "an unknown key is always an error"),
        (["-b", "61"], "at most 60 seconds"),
        (["-b", "0"], "more than 0"),
        (["-l", "LOUD"], "expected DEBUG"),
        (["--nonsense"], "ex_tiny.py --help"),
        (["help", "mian"], "did you mean 'main'?"),
        (["server", "sotp"], "expected server status or server stop"),
    ],
)
def test_refusals_name_the_remedy(
    run: Run, words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        run(*words)
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_script_alone_asks_what_to_do(run: Run, tmp_path: Path, capsys) -> None:
    done: list[tuple[str, ...]] = []

    def main(settings: Any, handle: RunHandle) -> None:
        done.append(handle.named)

    experiment = Experiment("ex_made", tiny.Tiny, tiny.NAMED, examples=["with small", "with wide seed=3"])
    experiment.main(main)
    for words in ([], ["with"], ["-u"]):
        with pytest.raises(SystemExit) as left:
            run(*words, experiment=experiment)
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert "  python ex_tiny.py with small\n  python ex_tiny.py with wide seed=3\n" in said
    assert (done, list(tmp_path.iterdir())) == ([], [])
    run("-u", "with", "wide", "seed=3", "small", experiment=experiment)
    assert done == [("wide", "small")]


def test_a_command_has_other_names(run: Run, tmp_path: Path, capsys) -> None:
    experiment = Experiment("ex_made", tiny.Tiny, tiny.NAMED, aliases={"judge": "evaluate"})

    @experiment.command
    def evaluate(settings: Any, handle: RunHandle) -> int:
        """Look at it."""
        return settings.model.width

    for name in ("evaluate", "judge"):
        assert run(name, "with", OFF, experiment=experiment) == 8
        run("help", name, experiment=experiment)
        assert "Look at it." in capsys.readouterr().out
    documents = [start_of(directory)["document"] for directory in tmp_path.glob("runs/2*")]
    assert {document["command"] for document in documents} == {"evaluate"}
    assert len({document["info"]["fingerprint"] for document in documents}) == 1


def test_an_old_name_of_a_setting_is_answered_by_the_new_one_and_is_the_same_run(
    run: Run, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("with", OFF, "model.width=3", "stores.mine=there")
    monkeypatch.setattr(renamed, "RENAMED", {"net.width": "model.width", "places": "stores", "model.blocks": "gone"})
    capsys.readouterr()
    run("with", OFF, "net.width=3", "places.mine=there", "model.blocks=[1,2]")
    said = capsys.readouterr().err
    assert "net.width has another name now: write model.width=3\n" in said
    assert "places.mine has another name now: write stores.mine=there\n" in said
    documents = [start_of(directory)["document"] for directory in sorted(tmp_path.glob("runs/2*"))]
    assert documents[0]["config"] == documents[1]["config"]
    assert documents[1]["info"]["delta"] == {"model": {"width": 3}, "stores": {"mine": "there"}}
    assert renamed.former({"model.width": 3, "stores.mine": "there"}) == {"net.width": 3, "places.mine": "there"}


def test_named_configs_are_listed_with_their_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("print_named_configs")
    said = capsys.readouterr().out
    for name, named in tiny.NAMED.items():
        assert re.search(rf"^  {name} +# {re.escape(named.description)}$", said, re.MULTILINE)


def test_print_config_explains_keys(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("print_config", "with", "target_mtt", f"tracking.mongo_url={URL}")
    said = capsys.readouterr().out
    assert "lr = 0.1" in said
    assert "# learning rate" in said
    assert "name = 'mtt'" in said
    assert PASSWORD not in said


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
