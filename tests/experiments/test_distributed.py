"""How several processes talk."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from experiments import distributed

ROOT = Path(__file__).resolve().parents[2]
TALK = """
import sys
from experiments import distributed
distributed.join()
rank = distributed.rank()
distributed.barrier()
answers = [rank, distributed.world_size(), distributed.share({"seed": 5 + rank}), distributed.gather(rank * 2)]
first = distributed.report_failure(str(rank), "words")
distributed.barrier()
answers += [first, distributed.failure() is not None]
distributed.leave()
open(f"{sys.argv[1]}/{rank}", "w").write(repr(answers))
"""


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
    (tmp_path / "written").mkdir()
    step = {"SLURM_NTASKS": "3", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NODEID": "0"}
    step |= {"MASTER_PORT": str(18_000 + os.getpid() % 10_000), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "written")],
            env=os.environ | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(3)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    answers = [ast.literal_eval((tmp_path / "written" / str(rank)).read_text()) for rank in range(3)]
    assert [words[:4] for words in answers] == [[rank, 3, {"seed": 5}, [0, 2, 4]] for rank in range(3)]
    assert sorted(words[4] for words in answers) == [False, False, True]  # one failed first, by all accounts
    assert all(words[5] for words in answers)
