"""The benchmark for GPUs runs everywhere: its code on a CPU with tiny shapes, with nothing but PyTorch."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_bench import TINY, Bench
from benchmarks.gpu_contestants import Plain
from experiments.configs import clmr_chain
from models.augment import Chain
from models.maest import MAEST

FOLDER = Path(gpu.__file__).parent


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What a whole tiny run printed, and its figures."""
    folder = tmp_path_factory.mktemp("gpu")
    argv, sys.argv = sys.argv, ["gpu", "--device", "cpu", "--tiny", "--quick", "--out", str(folder)]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            gpu.main()
    finally:
        sys.argv = argv
    return printed.getvalue(), json.loads((folder / "gpu.json").read_text())


def test_every_part_runs(ran):
    printed, _ = ran
    assert "FAILED" not in printed
    assert ": right (below" in printed
    assert "WRONG" not in printed


def test_every_contestant_is_in_the_table(ran):
    rows = ran[1]["rows"]
    names = {(row["kind"], row["name"]) for row in rows}
    for kind in ("training", "inference"):
        for name in ("compiled, best attention", "eager, best attention", "plain attention (restated)"):
            assert (kind, name) in names
    assert {row["tokens"] for row in rows if row["kind"] == "training"} == {74, 50}
    assert all(row["clips/s"] > 0 and row["TFLOP/s"] > 0 for row in rows)


def test_compiled_steps_keep_their_graphs(ran):
    notes = [row["notes"] for row in ran[1]["rows"] if "compiled" in row["name"] and row["tokens"]]
    assert notes
    assert all("2 graphs, 0 more in 3 steps, 0 breaks" in note for note in notes)


def test_contrastive_rows_are_of_one_graph_and_tell_the_share_of_the_augmentation(ran):
    rows = {row["name"]: row["notes"] for row in ran[1]["rows"] if row["kind"] == "contrastive"}
    assert sorted(rows) == ["CLMR, compiled", "CLMR, eager", "TUNe+, compiled", "TUNe+, eager"]
    for name, notes in rows.items():
        assert "% of the step" in notes
        assert ("1 graphs, 0 more in 3 steps, 0 breaks" in notes) == name.endswith("compiled")


def test_the_chain_on_a_gpu_is_that_of_the_configs():
    from benchmarks.gpu_contrastive import CHAIN, RATE

    settled = []
    for steps in (CHAIN, clmr_chain.CHAIN):
        settled.append([])
        for name, step in Chain.build(steps, audio=True, sample_rate=RATE).before:
            defaults = {key: one.default for key, one in inspect.signature(step.func).parameters.items()}
            settled[-1].append((name, defaults | step.keywords))
    assert settled[0] == settled[1]


def test_nothing_but_pytorch_and_the_models_is_imported():
    standard = set(sys.stdlib_module_names)
    for file in FOLDER.glob("gpu*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module]
            else:
                continue
            if any(name.startswith("maest_infer") for name in found):
                assert node.col_offset > 0  # inside a function, which may fail
                continue
            rooms = {name.split(".")[0] for name in found} - standard
            assert rooms <= {"torch", "models", "benchmarks"}, f"{file.name}: {rooms}"
            assert all(name.startswith("benchmarks.gpu") for name in found if name.startswith("benchmarks"))


def test_a_part_that_fails_is_told_and_the_rest_goes_on(capsys):
    bench = Bench(torch.device("cpu"), tiny=True, quick=True, ends=time.monotonic() + 60)
    done = []
    bench.attempt("first", lambda: 1 // 0)
    bench.attempt("second", lambda: done.append(True))
    assert done
    assert "first: FAILED, ZeroDivisionError" in capsys.readouterr().out
    bench.ends = 0.0
    bench.attempt("third", lambda: done.append(True))
    assert len(done) == 1
    assert "third: left out" in capsys.readouterr().out


@pytest.mark.parametrize("training", [True, False])
def test_the_restatement_is_the_same_network(training):
    torch.manual_seed(0)
    ours = MAEST(**TINY, s_patchout_t=3, s_patchout_f=2, u_patchout=4).train(training)
    plain = Plain(ours).train(training)
    x = torch.randn(2, 115, 96)
    logits = []
    for network in (ours, plain):
        torch.manual_seed(7)
        logits.append(network(x))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-6)
