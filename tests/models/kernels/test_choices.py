"""The fastest exact kernel is taken, on this machine always the same, and PyTorch's own in any doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.kernels import choices
from models.kernels.choices import choice, used
from models.kernels.mode import enabled, using
from models.kernels.products import Linear


@pytest.fixture(autouse=True)
def new_machine(tmp_path, monkeypatch):
    """Nothing was ever chosen here."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.delenv("OSTINATO_KERNELS", raising=False)
    monkeypatch.setattr(choices, "_chosen", {})
    monkeypatch.setattr(choices, "time", SimpleNamespace(perf_counter=lambda: NOW[0]))


NOW = [0.0]  # of the clock by which kernels are timed here


def taking(seconds, value=1.0, dtype=torch.float32):
    def work():
        NOW[0] += seconds
        return [torch.full((3,), value, dtype=dtype)]

    return work


def raising():
    raise RuntimeError("no such operator")


def kept(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("kernels/*/*"))


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (taking(0.001), "other"),
        (taking(0.0099), "torch"),  # not worth it
        (taking(0.03), "torch"),
        (taking(0.001, 1 + 1e-6), "other"),
        (taking(0.001, 1 + 1e-4), "torch"),  # something else
        (raising, "torch"),
        (lambda: [torch.full((4,), 1.0)], "torch"),
        (lambda: [torch.full((3,), 1.0), torch.zeros(1)], "torch"),
        (lambda: [torch.full((3,), 1.0, dtype=torch.float64)], "torch"),
        (lambda: [torch.full((3,), torch.nan)], "torch"),
    ],
)
def test_a_kernel_is_taken_if_it_is_faster_and_computes_the_same(other, taken):
    assert choice("product", lambda: {"torch": taking(0.01), "other": other}) == taken


@pytest.mark.parametrize(("factor", "taken"), [(1 + 2**-7, "other"), (1 + 2**-4, "torch")])
def test_bfloat16_may_differ_by_its_own_rounding(factor, taken):
    kernels = {"torch": taking(0.01, 1.0, torch.bfloat16), "other": taking(0.001, factor, torch.bfloat16)}
    assert choice("product", lambda: kernels) == taken


def test_a_choice_is_made_once_and_kept_for_later_processes(tmp_path, monkeypatch):
    assert choice("product", lambda: {"torch": taking(0.005), "other": taking(0)}) == "other"
    (file,) = kept(tmp_path)
    assert file.stem == f"product-{torch.get_num_threads()}threads"
    found = json.loads(file.read_text())
    assert found["kernel"] == "other"
    assert found["milliseconds"]["torch"] > found["milliseconds"]["other"]
    assert choice("product", lambda: pytest.fail("timed twice")) == "other"
    monkeypatch.setattr(choices, "_chosen", {})
    assert choice("product", lambda: pytest.fail("timed by a later process")) == "other"
    assert used(0.0) == {file.stem: "other"}


def test_a_number_of_threads_has_a_choice_of_its_own(tmp_path):
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            choice("product", lambda: {"torch": taking(0.002), "other": taking(0)})
    finally:
        torch.set_num_threads(before)
    assert [file.stem for file in kept(tmp_path)] == ["product-1threads", "product-2threads"]


def test_of_two_processes_at_once_the_first_one_wins(tmp_path):
    def candidates():
        folder = choices._folder()  # meanwhile, another process has decided
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"product-{torch.get_num_threads()}threads.json").write_text('{"kernel": "torch"}')
        return {"torch": taking(0.005), "other": taking(0)}

    assert choice("product", candidates) == "torch"
    assert len(kept(tmp_path)) == 1
    assert used(0.0) == {f"product-{torch.get_num_threads()}threads": "torch"}


def test_those_of_earlier_commands_count_once_they_are_looked_up_again(tmp_path, monkeypatch):
    choice("product", lambda: {"torch": taking(0.005), "other": taking(0)})
    (file,) = kept(tmp_path)
    os.utime(file, (1000.0, 1000.0))
    monkeypatch.setattr(choices, "_chosen", {})
    began = time.time()
    assert used(began) == {}
    asked = "from models.kernels.choices import choice; print(choice('product', None))"  # by a worker, say
    made = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "other"
    assert used(began) == {file.stem: "other"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kernel": 3}', "\0"])
def test_a_damaged_file_is_replaced(text):
    folder = choices._folder()
    folder.mkdir(parents=True)
    (folder / f"product-{torch.get_num_threads()}threads.json").write_text(text)
    assert choice("product", lambda: {"torch": taking(0.005), "other": taking(0)}) == "other"
    assert used(0.0) == {f"product-{torch.get_num_threads()}threads": "other"}


def test_without_a_place_for_it_the_choice_holds_for_the_process(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file"))
    assert choice("product", lambda: {"torch": taking(0.005), "other": taking(0)}) == "other"
    assert choice("product", lambda: pytest.fail("timed twice")) == "other"
    assert used(0.0) == {f"product-{torch.get_num_threads()}threads": "other"}


def test_they_can_be_turned_off_here_and_in_processes_that_are_started(tmp_path):
    with using("torch"):
        assert not enabled()
        assert choice("product", lambda: pytest.fail("timed")) == "torch"
        asked = "from models.kernels.mode import enabled; print(enabled())"
        made = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
        assert made.stdout.strip() == "False"
        with using("auto"):
            assert not enabled()
    assert enabled()
    assert "OSTINATO_KERNELS" not in os.environ
    assert kept(tmp_path) == []


def test_timing_is_no_part_of_what_asks_for_it():
    def candidates():
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        return {name: lambda: [choices.numbers(3)] for name in ("torch", "other")}

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        choice("product", candidates)


def test_who_counts_operations_meets_those_of_pytorch():
    layer = Linear(64, 256)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(256, 64))
    assert counter.get_total_flops() == 2 * 256 * 64 * 256
    assert used(0.0) == {}


def test_timing_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    choice("product", lambda: {"torch": lambda: [choices.numbers(3)], "other": lambda: [choices.numbers(3)]})
    assert torch.equal(torch.rand(3), expected)
