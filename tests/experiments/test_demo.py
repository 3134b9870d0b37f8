"""The demo runs again only what did not end well or is gone, and what comes after it."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest

from experiments import demo


@pytest.fixture
def typed(tmp_path, monkeypatch) -> list[tuple[str, ...]]:
    """The commands that were run; each leaves what the real one does, the probes fail while `broken` exists."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.demo, "build", lambda size: tmp_path / "corpus")
    monkeypatch.setattr("sys.argv", ["demo", "--size", "tiny"])
    commands: list[tuple[str, ...]] = []
    number = count(1)

    def run(command: tuple[str, ...]) -> None:
        commands.append(command)
        if command[0] == "ex_probe.py":
            if Path("broken").exists():
                raise SystemExit(1)
            made = Path("runs/probes/files/comparison.txt")
        elif command[0] == "-m":
            made = Path(command[3]) / "header.json"
        elif command[1] == "with":
            assert "resume=True" in command
            made = Path(f"runs/training{next(number)}/checkpoints/last.ckpt")
        else:
            made = Path(next(word.split("=")[1] for word in command if "out_dir" in word)) / "header.json"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("table of scores")

    monkeypatch.setattr(demo, "_run", run)
    return commands


def kinds(commands: list[tuple[str, ...]]) -> list[str]:
    return [
        next(word for word in command if word not in ("ex_pretrain.py", "ex_transfer.py", "-m")) for command in commands
    ]


def test_what_failed_is_all_that_is_done_again(typed, capsys):
    Path("broken").touch()
    with pytest.raises(SystemExit):
        demo.main()
    assert kinds(typed) == [
        "with",
        "extract_embeddings",
        "extract_embeddings",
        "preprocess",
        "preprocess",
        "with",
        "extract_embeddings",
        "ex_probe.py",
    ]
    assert "inference.checkpoint=runs/training2" in typed[6]
    Path("broken").unlink()
    typed.clear()
    capsys.readouterr()
    demo.main()
    assert kinds(typed) == ["ex_probe.py"]
    out = capsys.readouterr().out
    assert out.count("finished before, kept: ") == 7
    assert "kept: runs/training1\n" in out


def test_a_finished_demo_shows_its_table_again(typed, capsys):
    demo.main()
    assert "Everything was finished before" not in capsys.readouterr().out
    typed.clear()
    demo.main()
    out = capsys.readouterr().out
    assert typed == []
    assert "table of scores" in out
    assert "To begin anew: rm -r outputs/demo" in out


def test_what_was_deleted_is_made_again_and_all_that_comes_after_it(typed):
    demo.main()
    typed.clear()
    shutil.rmtree("outputs/demo/librosa_tempo")
    demo.main()
    assert kinds(typed) == ["preprocess", "preprocess", "with", "extract_embeddings", "ex_probe.py"]
    typed.clear()
    shutil.rmtree("runs/training1")
    demo.main()
    assert len(typed) == 8
    assert "inference.checkpoint=runs/training4" in typed[1]
    typed.clear()
    shutil.rmtree("outputs/demo/short_chunk")
    demo.main()
    assert kinds(typed) == ["extract_embeddings", "ex_probe.py"]


def test_who_stopped_before_the_tagger_was_a_step_goes_on_with_it(typed):
    demo.main()
    before = demo.finished()[:5]
    demo._remember([*before, ("python ex_probe.py with demo datamodule.demo_size=tiny", Path("runs/probes"))])
    typed.clear()
    demo.main()
    assert kinds(typed) == ["with", "extract_embeddings", "ex_probe.py"]


def test_an_address_of_the_database_that_is_none_is_said_in_a_line(typed, monkeypatch):
    monkeypatch.setenv("OSTINATO_MONGO_URL", "localhost:27017")
    with pytest.raises(SystemExit, match=r"^error: OSTINATO_MONGO_URL=localhost:27017: expected mongodb://"):
        demo.main()
    assert typed == []


def test_kernels_that_there_are_not_are_said_before_the_first_step(typed, monkeypatch):
    monkeypatch.setenv("OSTINATO_KERNELS", "mkl")
    with pytest.raises(SystemExit, match=r"^error: OSTINATO_KERNELS=mkl: expected auto or torch$"):
        demo.main()
    assert typed == []


@pytest.mark.parametrize("content", ["", "{}", "5", '[["python x", 5]]', '[["python ex_pretrain.py"]]'])
def test_a_damaged_memory_is_none(typed, content: str):
    demo.FINISHED.parent.mkdir(parents=True)
    demo.FINISHED.write_text(content)
    demo.main()
    assert len(typed) == 8
