"""One training by several processes: under torchrun, on two nodes, as tasks of SLURM; tests share the launches."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.tracking.journal import read, read_points
from experiments.tracking.liveness import end_of

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, CUT = ROOT / "ex_pretrain.py", ROOT / "tests" / "ex_cut.py"
PLAIN = [
    "maest_5s_random_weights_pretrain",
    "debug",
    "tracking.mongo=off",
    "model.s_patchout_t=0",
    "model.s_patchout_f=0",
    "datamodule.masking.do=False",
    "module.mixup_alpha=0",
    "module.optimizer.lr=1e-3",
    "module.optimizer.warm_up_len=1",
    "trainer.checkpoint_every_n_steps=2",
]
SECONDS = 240


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def launch(commands: list[list[str]], cwd: Path, *environments: dict[str, str]) -> list[tuple[int, str]]:
    """Start commands side by side; exit code and output of each."""
    environments = environments or ({},) * len(commands)
    base = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=base | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        said = [process.communicate(timeout=SECONDS)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


def two_nodes(script: Path, *arguments: str) -> list[list[str]]:
    """One torchrun agent a node, one process each."""
    where = ["--master_addr=127.0.0.1", f"--master_port={free_port()}", "--nnodes=2", "--nproc_per_node=1"]
    start = ["-m", "torch.distributed.run", *where]
    return [[*start, f"--node_rank={node}", str(script), *arguments] for node in range(2)]


def series(run: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list] = {}
    for record in read_points(run):
        found.setdefault(record["name"], []).extend((step, value) for step, value, _ in record["points"])
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def only_run(folder: Path) -> Path:
    (run,) = (journal.parent for journal in folder.glob("*/journal.jsonl"))
    return run


@pytest.fixture(scope="module")
def place(tiny_corpus, tmp_path_factory):
    """Where all runs of this file go."""
    folder = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_HOME", str(folder / "home"))
        patch.setenv("OSTINATO_CACHE", str(tiny_corpus.parents[1]))
        patch.chdir(folder)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(place):
    """The run of one process with batches of 8, and its result."""
    from ex_pretrain import ex

    where = ["datamodule.batch_size_train=8", "tracking.runs_dir=alone"]
    return ex.run_commandline([str(SCRIPT), "with", *PLAIN, *where]), only_run(place / "alone")


@pytest.fixture(scope="module")
def side_by_side(place):
    """The run of two processes under torchrun with batches of 4, and what was printed."""
    start = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}", str(SCRIPT)]
    ((code, said),) = launch([[*start, "with", *PLAIN, "ddp", "tracking.runs_dir=two"]], place)
    assert code == 0, said
    return only_run(place / "two"), said


@pytest.fixture(scope="module")
def broken(place):
    """The same on two nodes, where the second one fails in the middle of an epoch: exit codes and outputs."""
    command = two_nodes(CUT, "with", *PLAIN, "ddp", "tracking.runs_dir=nodes")
    return launch(command, place, *({"CUT": "1:4:fail"},) * 2), only_run(place / "nodes")


def test_two_processes_are_one_run_and_speak_with_one_voice(side_by_side):
    run, said = side_by_side
    assert end_of(run)["status"] == "COMPLETED"
    assert said.count("started: ") == said.count("epoch 2/2") == said.count("best checkpoint") == 1
    (segment,) = (record for record in read(run, metrics=False) if record["kind"] == "segment")
    assert segment["processes"] == 2
    assert not list(run.glob("rank*.log"))


def test_two_batches_of_four_train_like_one_of_eight(alone, side_by_side):
    """Neither samples nor gradients nor metrics count twice: the ten tracks to judge by are 3 batches of 4 a rank."""
    one, two = series(alone[1]), series(side_by_side[0])
    assert one.keys() == two.keys()
    assert [step for step, _ in two["train/loss"]] == list(range(6))
    for name in one:
        assert [step for step, _ in one[name]] == [step for step, _ in two[name]], name
        assert [value for _, value in one[name]] == pytest.approx([value for _, value in two[name]], rel=1e-5), name
    left, right = weights(alone[1]), weights(side_by_side[0])
    assert left.keys() == right.keys()
    assert max(float((left[key] - right[key]).abs().max()) for key in left) < 1e-5


def test_the_loss_falls(alone):
    losses = [value for _, value in series(alone[1])["train/loss"]]
    assert losses[-1] < losses[0]


def test_a_rank_that_fails_ends_the_run_with_its_trace(broken):
    ended, run = broken
    assert all(code != 0 for code, _ in ended)
    end = end_of(run)
    assert end["status"] == "FAILED"
    assert "RuntimeError: this rank is broken" in "".join(end["fail_trace"])
    assert "RuntimeError: this rank is broken" in (run / "rank1.log").read_text()
    assert "RuntimeError: this rank is broken" in (run / "run.log").read_text()
    assert "rank1 failed, and the run with it: RuntimeError: this rank is broken" in ended[0][1]


def test_two_nodes_go_on_to_the_weights_of_one(broken, side_by_side, place):
    """In the same run; two nodes of one process are two processes of one node, bit by bit."""
    run = broken[1]
    ended = launch(two_nodes(SCRIPT, "with", *PLAIN, "ddp", "tracking.runs_dir=nodes", "resume=True"), place)
    assert [code for code, _ in ended] == [0, 0], ended
    assert only_run(place / "nodes") == run
    assert end_of(run)["status"] == "COMPLETED"
    assert "after 4 steps" in ended[0][1]
    assert [record["step"] for record in read(run, metrics=False) if record["kind"] == "rewind"] == [4]
    resumed, whole = series(run), series(side_by_side[0])
    assert all(resumed[name] == whole[name] for name in ("train/loss", "val/loss", "val/ap", "test/loss"))
    left, right = weights(run), weights(side_by_side[0])
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_f29_three_tasks_judge_every_track_once(alone, place):
    """Ten tracks over three ranks: the tracks that even out the shares are not counted."""
    step = {"SLURM_NTASKS": "3", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1"}
    step |= {"MASTER_PORT": str(free_port())}
    tasks = [step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(3)]
    found = f"inference.checkpoint={alone[1] / 'checkpoints' / 'best.ckpt'}"
    command = [str(SCRIPT), "test", "with", "tracking.mongo=off", "datamodule.demo_size=tiny", found]
    ended = launch([[*command, "tracking.runs_dir=tasks"]] * 3, place, *tasks)
    assert [code for code, _ in ended] == [0, 0, 0], ended
    assert ended[1][1] == ended[2][1] == ""
    result = end_of(only_run(place / "tasks"))["result"]
    expected = {name: value for name, value in alone[0].items() if name.startswith("test/")}
    assert expected["test/n_items"] == 10
    assert result == pytest.approx(expected, abs=1e-6)
