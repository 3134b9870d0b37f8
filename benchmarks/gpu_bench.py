"""The frame of `benchmarks.gpu`: parts that may fail, and the table they fill. Imports PyTorch and `models` alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._dynamo

from benchmarks.gpu_contestants import Shape, StepTiming
from models.maest.flops import Cost
from models.peaks import peak_bf16

FULL = {"n_bands": 96, "n_frames": 1875, "time_positions": 187, "n_classes": 400}
TINY = {"n_bands": 96, "n_frames": 125, "time_positions": 12, "n_classes": 5, "dim": 32, "depth": 2, "heads": 2}


@dataclass
class Bench:
    """What all parts share, and what they found."""

    device: torch.device
    tiny: bool
    quick: bool
    ends: float
    roof: float | None = None
    best: dict[str, str | None] = field(default_factory=dict)  # attention, by what it is for
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Timed steps of a contestant."""
        return 3 if self.tiny else 8 if self.quick else 20

    @property
    def backend(self) -> str:
        """Of torch.compile; the tiny run looks at graphs, not at kernels."""
        return "aot_eager" if self.tiny else "inductor"

    def shape(self, batch: int, **patchout: int) -> Shape:
        """Network and batch; in the tiny run both are small."""
        if self.tiny:
            patchout, batch = {name: min(count, 3) for name, count in patchout.items()}, 2
        return Shape({**(TINY if self.tiny else FULL), **patchout}, batch)

    def attempt(self, what: str, part: Callable[[], object]) -> None:
        """Run one part unless time is over; whatever fails is printed and left behind."""
        if time.monotonic() > self.ends:
            print(f"{what}: left out, the time is over", flush=True)
            return
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        began = time.monotonic()
        try:
            part()
        except ImportError as error:
            print(f"{what}: left out, {error}", flush=True)
        except Exception as error:  # whatever a kernel, a compiler or the memory has to say
            reason = " ".join(str(error).split())[:240] or "no message"
            print(f"{what}: FAILED, {type(error).__name__}: {reason}", flush=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"  ({what}: {time.monotonic() - began:.0f} s)", flush=True)

    def note(self, kind: str, name: str, shape: Shape, timing: StepTiming, cost: Cost, early: bool = False) -> None:
        """Keep a result and print it."""
        flops = cost.flops if kind == "inference" else cost.training_flops
        rate = shape.batch * flops / timing.seconds
        peak = peak_bf16(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
        row = {
            "kind": kind,
            "tokens": cost.tokens,
            "name": name,
            "batch": shape.batch,
            "milliseconds": 1e3 * timing.seconds,
            "clips/s": shape.batch / timing.seconds,
            "TFLOP/s": rate / 1e12,
            "of measured": rate / self.roof if self.roof else None,
            "of nominal": rate / peak if peak else None,
            "peak GiB": timing.peak / 2**30,
            "MiB a clip": (timing.peak - timing.resting) / 2**20 / shape.batch,
            "early": early,
            "notes": "; ".join(timing.notes),
        }
        self.rows.append(row)
        print(line(row), flush=True)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    shares = [f"{row[key]:.1%}" if row[key] else "-" for key in ("of measured", "of nominal")]
    what = f"{row['kind']:<11} {row['tokens']:>4}  {row['name']:<36} {row['batch']:>4}"
    rates = f"{row['milliseconds']:>9.2f} {row['clips/s']:>8.1f} {row['TFLOP/s']:>8.1f} {shares[0]:>7} {shares[1]:>7}"
    return f"{what} {rates} {row['peak GiB']:>6.1f} {row['MiB a clip']:>7.1f}  {row['notes']}"


HEAD = (
    f"{'':<11} {'tokens':>4}{'':<37} {'clips':>4} {'ms':>9} {'clips/s':>8} {'TFLOP/s':>8} {'of meas':>7} {'of nom':>7} "
    f"{'GiB':>6} {'MiB/clip':>7}"
)
