"""The command line: what it is answered and what is refused, before anything happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import renamed
from experiments.tracking import Experiment, RunHandle
from tests.experiments.tracking.tiny_runs import (
    OFF,
    PASSWORD,
    ROOT,
    SCRIPT,
    URL,
    Run,
    start_of,
    tiny,
)


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


@pytest.mark.parametrize(
    ("script", "words", "other"),
    [
        ("ex_transfer.py", ["describe", "with", "datamodule.base_dir=my music"], "ex_pretrain.py"),
        ("ex_transfer.py", ["-u", "extract_embeddings"], "ex_pretrain.py"),
        ("ex_pretrain.py", ["report"], "ex_probe.py"),
    ],
)
def test_a_command_of_another_script_is_found(script: str, words: list[str], other: str, capsys) -> None:
    experiment = Experiment("ex_made", tiny.Tiny, tiny.NAMED)
    experiment.sacred.base_dir = str(ROOT)
    with pytest.raises(SystemExit):
        experiment.run_commandline([str(ROOT / script), *words])
    command = next(word for word in words if word[0] != "-")
    said = f"error: {command} is a command of {other}: python {other} {shlex.join(words)}\n"
    assert capsys.readouterr().err == said


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
