"""Which process this is by its launcher's variables, and how several talk."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import distributed
from experiments.distributed import Launch, launch, layout
from experiments.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "6", "MASTER_ADDR": "gpu1", "MASTER_PORT": "29500"}
ON_NODE = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "2", "GROUP_WORLD_SIZE": "3"}
SRUN = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "1234567", "SLURM_STEP_NODELIST": "gpu[03-04]"}

TALK = """
import sys
from experiments import distributed
distributed.join()
rank = distributed.rank()
distributed.barrier()
told = [rank, distributed.world_size(), distributed.share({"seed": 5 + rank}), distributed.gather(rank * 2)]
first = distributed.report_failure(str(rank), "words")
distributed.barrier()
told += [first, distributed.failure() is not None]
distributed.leave()
open(f"{sys.argv[1]}/{rank}", "w").write(repr(told))
"""


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, None),  # started by Lightning
        (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
        (TORCHRUN, Launch("torchrun", 5, 6, 5, 0, 1, "gpu1:29500")),
        (TORCHRUN | ON_NODE, Launch("torchrun", 5, 6, 1, 2, 3, "gpu1:29500")),
        (SRUN, None),  # the batch script itself
        (SRUN | STEP | {"SLURM_JOB_NAME": "bash"}, None),
        (SRUN | STEP | {"SLURM_STEP_ID": "4294967290"}, None),  # the shell of salloc
        (SRUN | STEP, Launch("srun", 3, 4, 1, 1, 2, "gpu03:21144")),
        (SRUN | STEP | {"SLURM_STEP_ID": "1"}, Launch("srun", 3, 4, 1, 1, 2, "gpu03:21145")),  # beside the one before
        (SRUN | STEP | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        (SRUN | STEP | {"SLURM_NNODES": "1"}, Launch("srun", 3, 4, 1, 1, 1, "127.0.0.1:21144")),
        (SRUN | STEP | {"MASTER_ADDR": "a", "MASTER_PORT": "7"}, Launch("srun", 3, 4, 1, 1, 2, "a:7")),
        (SRUN | STEP | TORCHRUN, Launch("torchrun", 5, 6, 5, 0, 1, "gpu1:29500")),  # torchrun under srun
    ],
)
def test_launchers_are_told_by_their_variables(environment, found):
    assert launch(environment) == found


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "torchrun or srun"),
        (TORCHRUN | {"RANK": "one"}, "RANK=one"),
        (SRUN | STEP | {"SLURM_NTASKS": "3"}, "3 processes on 2 nodes"),
    ],
)
def test_what_cannot_work_is_named(environment, said):
    with pytest.raises(UserError, match=said):
        launch(environment)


@pytest.mark.parametrize("nodes", ["gpu03", "gpu03,gpu07", "gpu[03-05,9],cpu1", "gpu[03]", "gpu03 gpu04"])
def test_the_first_host_of_a_list(nodes):
    assert distributed._first_host(nodes) == "gpu03"


def test_the_trainer_follows_its_launcher(monkeypatch):
    assert layout(2, 3) == (2, 3)
    assert layout("auto", 1) == (1, 1)
    for name, value in (TORCHRUN | ON_NODE).items():
        monkeypatch.setenv(name, value)
    assert layout(1, 1) == layout("auto", 1) == layout(2, 3) == (2, 3)
    with pytest.raises(UserError, match=r"trainer\.devices=4 .* torchrun started 2 processes on each of 3 nodes"):
        layout(4, 1)


def test_a_launcher_that_repeats_a_command_is_recognised():
    assert not distributed.restarted({"TORCHELASTIC_RESTART_COUNT": "0"})
    assert distributed.restarted({"SLURM_RESTART_COUNT": "1"})


def test_a_single_process_talks_to_itself():
    distributed.join()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.share({"a": 1}) == {"a": 1}
    assert distributed.gather(3) == [3]
    distributed.barrier()
    distributed.leave()
    assert "RANK" not in os.environ


def test_three_processes_talk(tmp_path):
    """Tasks of a SLURM step: plain processes side by side."""
    script = tmp_path / "talk.py"
    script.write_text(TALK)
    (tmp_path / "said").mkdir()
    step = {"SLURM_NTASKS": "3", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NODEID": "0"}
    step |= {"MASTER_PORT": str(18_000 + os.getpid() % 10_000), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "said")],
            env=os.environ | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(3)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    told = [ast.literal_eval((tmp_path / "said" / str(rank)).read_text()) for rank in range(3)]
    assert [words[:4] for words in told] == [[rank, 3, {"seed": 5}, [0, 2, 4]] for rank in range(3)]
    assert sorted(words[4] for words in told) == [False, False, True]  # one failed first, by all accounts
    assert all(words[5] for words in told)
