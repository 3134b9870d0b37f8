"""MAEST on a GPU: training and inference in bfloat16, in clips per second and as a share of what the device can do.

CLMR's SampleCNN and TUNe+ are pre-trained there, too (`benchmarks.gpu_contrastive`).

    python -m benchmarks.gpu [--quick] [--minutes 7] [--out FOLDER]
    python -m benchmarks.gpu --device cpu --tiny        # the same code in seconds, to see that it runs

Needs PyTorch and the folder `models`; where `maest-infer` is installed, its modules run beside ours. Every part is
tried by itself: one that fails is printed with its reason, and the rest goes on. The last table is the summary.

The measured roof is the rate of an 8192-cubed bfloat16 product of random numbers; the nominal one is the data sheet's.
Utilisation counts the operations that are really done (`models.maest.flops`): ours leave out what nobody reads in the
last block, so that at equal clips per second they show a smaller share.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_bench import HEAD, Bench, line
from benchmarks.gpu_checks import attentions, correctness, roof
from benchmarks.gpu_contestants import (
    Plain,
    Shape,
    distance,
    inference_step,
    maest_infer,
    measured,
    training_step,
    wait,
)
from benchmarks.gpu_contrastive import contrastive
from models.attention import prefer
from models.maest import MAEST
from models.maest.compiled import compile_blocks
from models.maest.flops import cost

BARS = {("training", 866): "bar 675, target 825", ("inference", 1676): "bar 1,015"}  # tokens: clips/s on an H200


def train(bench: Bench, name: str, shape: Shape, **how: Any) -> None:
    """One contestant of training."""
    compiled, peer, whole, fastest = (how.get(key) for key in ("compiled", "peer", "whole", "fastest"))
    network = shape.network()
    work = cost(network, training=True, whole=bool(peer))
    forward, trained = None, network
    if peer:
        trained, forward = peer(network)
    if compiled:
        compile_blocks(network, backend=bench.backend)
    step = training_step(trained, shape, bench.device, fused=not peer, forward=forward, whole=bool(whole))
    with prefer(bench.best.get("training") if fastest else None):
        timing = measured(step, bench.device, bench.steps)
    if not torch.isfinite(step()):
        timing.notes.append("LOSS NOT FINITE")
    bench.note("training", name, shape, timing, work)


def infer(bench: Bench, name: str, shape: Shape, **how: Any) -> None:
    """One contestant of inference."""
    compiled, peer, pure, block = (how.get(key) for key in ("compiled", "peer", "pure", "block"))
    network = shape.network()
    work = cost(network, whole=bool(peer), blocks=None if block is None else block + 1)
    forward, run = None, network
    if peer:
        run, forward = peer(network)
    if block is not None:
        forward = lambda x: network.embed(x, [network.layer_names[block]])  # noqa: E731
    if pure:
        network.bfloat16()
    if compiled:
        compile_blocks(network, backend=bench.backend)
    step = inference_step(run, shape, bench.device, None if pure else torch.bfloat16, forward)
    with prefer(None if peer else bench.best.get("inference")):
        timing = measured(step, bench.device, bench.steps)
    if pure:
        reference = shape.network().to(bench.device).eval()
        with torch.inference_mode():
            few = shape.clips(bench.device, 2)
            timing.notes.append(f"relative error {distance(network(few).float(), reference(few)):.1e}")
    bench.note("inference", name, shape, timing, work, early=block is not None)


def plain(network: MAEST) -> tuple[Plain, None]:
    """Ours without its short cuts."""
    return Plain(network), None


def run(bench: Bench) -> None:
    """All parts, the most telling first."""
    first = bench.shape(64, s_patchout_t=90)
    fewer = bench.shape(64, s_patchout_t=90, s_patchout_f=3)
    whole = bench.shape(64)
    bench.attempt("roof", lambda: roof(bench))
    bench.attempt("attention, training", lambda: attentions(bench, "training", first, True))
    bench.attempt("attention, inference", lambda: attentions(bench, "inference", whole, False))
    bench.attempt("correctness", lambda: correctness(bench, first))
    print(HEAD)

    def training(name: str, shape: Shape, **how: Any) -> None:
        bench.attempt(f"training, {name}, {shape.batch} clips", lambda: train(bench, name, shape, **how))

    def inference(name: str, shape: Shape = whole, **how: Any) -> None:
        bench.attempt(f"inference, {name}, {shape.batch} clips", lambda: infer(bench, name, shape, **how))

    best = {"compiled": True, "fastest": True}
    training("compiled, best attention", first, **best)
    inference("compiled, best attention", compiled=True)
    training("eager, best attention", first, fastest=True)
    training("eager, PyTorch's choice of attention", first)
    training("plain attention (restated)", bench.shape(32, s_patchout_t=90), peer=plain)
    training("maest-infer's modules", bench.shape(32, s_patchout_t=90), peer=maest_infer)
    inference("eager, best attention")
    inference("plain attention (restated)", bench.shape(32), peer=plain)
    inference("maest-infer's modules", bench.shape(32), peer=maest_infer)
    training("compiled, best attention", fewer, **best)
    training("eager, best attention", fewer, fastest=True)
    training("compiled, with augmentation", first, **best, whole=True)
    contrastive(bench)
    if bench.quick:
        return
    for batch in (32, 128):
        training("compiled, best attention", bench.shape(batch, s_patchout_t=90), **best)
    training("compiled, best attention", bench.shape(128, s_patchout_t=90, s_patchout_f=3), **best)
    inference("compiled, weights in bfloat16", compiled=True, pure=True)
    inference("compiled, stop at block 7", compiled=True, block=0 if bench.tiny else 6)
    inference("compiled, best attention", bench.shape(16), compiled=True)


def main() -> None:
    """Runs everything and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (default: cuda)")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to see that everything runs")
    parser.add_argument("--quick", action="store_true", help="fewer steps and contestants")
    parser.add_argument("--minutes", type=float, default=7.0, help="no part is begun after that (default: 7)")
    parser.add_argument("--out", type=Path, help="folder for gpu.json, with all figures")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here; --device cpu --tiny shows that the benchmark runs")
    bench = Bench(device, options.tiny, options.quick, time.monotonic() + 60 * options.minutes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    conditions = f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}, bf16, 96 bands"
    print(conditions)
    run(bench)
    wait(device)
    print(f"\n{conditions}; roof measured {bench.roof / 1e12 if bench.roof else float('nan'):.0f} TFLOP/s")
    print(HEAD)
    for row in bench.rows:
        print(line(row))
    for what, bar in BARS.items():
        rates = [row["clips/s"] for row in bench.rows if (row["kind"], row["tokens"]) == what and not row["early"]]
        if rates:
            print(f"{what[0]}, {what[1]} tokens: best {max(rates):,.0f} clips/s ({bar} clips/s on an H200)")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        found = {"conditions": conditions, "roof": bench.roof, "attention": bench.best, "rows": bench.rows}
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
