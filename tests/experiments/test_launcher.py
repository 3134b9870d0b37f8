"""Which process this is by its launcher's variables."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.launcher import Launch, _first_host, launch, layout, restarted

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "6", "MASTER_ADDR": "gpu1", "MASTER_PORT": "29500"}
ON_NODE = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "2", "GROUP_WORLD_SIZE": "3"}
SRUN = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "1234567", "SLURM_STEP_NODELIST": "gpu[03-04]"}


@pytest.mark.parametrize(
    ("environment", "launched"),
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
def test_launchers_are_recognised_by_their_variables(environment, launched):
    assert launch(environment) == launched


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "torchrun or srun"),
        (TORCHRUN | {"RANK": "one"}, "RANK=one"),
        (SRUN | STEP | {"SLURM_NTASKS": "3"}, "3 processes on 2 nodes"),
    ],
)
def test_what_cannot_work_is_named(environment, message):
    with pytest.raises(UserError, match=message):
        launch(environment)


@pytest.mark.parametrize("nodes", ["gpu03", "gpu03,gpu07", "gpu[03-05,9],cpu1", "gpu[03]", "gpu03 gpu04"])
def test_the_first_host_of_a_list(nodes):
    assert _first_host(nodes) == "gpu03"


def test_the_trainer_follows_its_launcher(monkeypatch):
    assert layout(2, 3) == (2, 3)
    assert layout("auto", 1) == (1, 1)
    for name, value in (TORCHRUN | ON_NODE).items():
        monkeypatch.setenv(name, value)
    assert layout(1, 1) == layout("auto", 1) == layout(2, 3) == (2, 3)
    with pytest.raises(UserError, match=r"trainer\.devices=4 .* torchrun started 2 processes on each of 3 nodes"):
        layout(4, 1)


def test_a_launcher_that_repeats_a_command_is_recognised():
    assert not restarted({"TORCHELASTIC_RESTART_COUNT": "0"})
    assert restarted({"SLURM_RESTART_COUNT": "1"})
