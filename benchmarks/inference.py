"""Forward pass of MAEST for a 30-s clip on a CPU, beside `maest-infer` and the AST of `transformers` at equal shape.

    python -m benchmarks.inference [--depth 12] [--rounds 7] [--threads 2] [--without-int8]

All take 96 bands x 1876 frames (1685 tokens) through a ViT-B in float32 and give 400 logits; `maest-infer` has the very
weights of ours. They take turns; ratios are medians over the rounds. GFLOP are those that each really computes: ours
leaves out what the last block would compute for tokens that nobody reads.

Ours with PyTorch's own kernels (`inference.kernels=torch`) and with the fastest ones, as trained and prepared. Then
what changes the outputs: bfloat16, stopping at block 7 (embeddings alone), leaving out every other column of patches,
both, and an ONNX file with products in 8 bits (from audio, its front end included, by onnxruntime). What each costs in
the score of probes is for `benchmarks.levers` to say.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from maest_infer.model import MAEST as InferMAEST
from transformers import ASTConfig, ASTForAudioClassification

from benchmarks.machine import by_pytorch, race, ratio, report, roof
from models.frontends import build
from models.frontends.musicnn import HOP
from models.inputs import Inputs
from models.maest import MAEST
from models.maest.flops import cost
from models.maest.prepared import prepare
from models.onnx_files import write_onnx
from models.onnx_sessions import INPUT, open_onnx

BANDS, FRAMES, POSITIONS, CLASSES = 96, 1876, 187, 400
OURS, PLAIN, EARLY, HALF = "prepared", "as trained", "stop at block 7", "half the tokens"
BOTH, INT8 = "half, stop at block 7", "ONNX, 8 bits"
TORCH, MIXED = "PyTorch's kernels", "bfloat16, prepared"
INFER, AST = "maest-infer", "transformers AST"


def main() -> None:
    """Runs the race and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=12, help="blocks of every network (default: 12)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of every network (default: 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of every network")
    parser.add_argument("--without-int8", action="store_true", help="leave the ONNX file out; making it takes a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    settings = {"n_frames": 1875, "time_positions": POSITIONS, "depth": arguments.depth, "n_classes": CLASSES}
    plain = MAEST(**settings).eval()
    half = MAEST(**settings, s_patchout_t_interleaved=2).eval()
    half.load_state_dict(plain.state_dict())
    ours, half, mixed = prepare(plain), prepare(half), prepare(plain, torch.bfloat16)
    infer = maest_infer(plain, arguments.depth)
    ast = transformers_ast(arguments.depth)
    x = torch.randn(1, FRAMES, BANDS)
    image = x.transpose(1, 2)[:, None].contiguous()
    seventh = min(6, arguments.depth - 1)
    layers = [plain.layer_names[seventh]]

    contestants = {
        INFER: lambda: infer(image, melspectrogram_input=True),
        AST: lambda: ast(x).logits,
        TORCH: by_pytorch(lambda: partial(plain, x)),
        PLAIN: lambda: plain(x),
        OURS: lambda: ours(x),
        MIXED: lambda: in_bfloat16(mixed, x),
        EARLY: lambda: ours.embed(x, layers),
        HALF: lambda: half(x),
        BOTH: lambda: half.embed(x, layers),
    }
    whole = cost(plain, FRAMES, whole=True).flops
    flops = {
        INFER: whole,
        AST: whole,
        **dict.fromkeys((TORCH, PLAIN, MIXED), cost(plain, FRAMES).flops),
        OURS: cost(plain, FRAMES).flops,
        EARLY: cost(plain, FRAMES, blocks=seventh + 1).flops,
        HALF: cost(half, FRAMES).flops,
        BOTH: cost(half, FRAMES, blocks=seventh + 1).flops,
    }
    if not arguments.without_int8:
        contestants[INT8], flops[INT8] = int8(plain, seventh, arguments.threads), flops[OURS]
    with torch.inference_mode():
        difference = (ours(x) - infer(image, melspectrogram_input=True)[0]).abs().max().item()
        best, best_mixed = roof(), roof(torch.bfloat16)
        timings = race(contestants, arguments.rounds)
    report(f"30-s clip, {arguments.depth} blocks, batch 1", timings, flops, OURS, best, {MIXED: best_mixed})
    print(f"largest difference between our logits and those of maest-infer on equal weights: {difference:.1e}")
    for name, bar in ((INFER, "bar: 4.0"), (AST, "no bar"), (TORCH, "no bar")):
        print(f"{name} / ours: {ratio(timings, name, OURS)[0]:.2f} ({bar})")
    for name, bar in ((MIXED, "no bar"), (EARLY, "bar: 3.0"), (HALF, "bar: 5.0"), (BOTH, "no bar"), (INT8, "bar: 4.0")):
        if name in timings:
            print(f"maest-infer / ours, {name}: {ratio(timings, INFER, name)[0]:.2f} ({bar})")
    for name, bar in ((OURS, 0.95), (MIXED, 0.60)):
        print(f"{name}: {min(turn.wall for turn in timings[name]):.3f} s (bar: {bar})")


def in_bfloat16(network: MAEST, x: torch.Tensor) -> torch.Tensor:
    """Logits as `trainer.precision=bf16-mixed` computes them."""
    with torch.autocast("cpu", torch.bfloat16):
        return network(x)


def maest_infer(ours: MAEST, depth: int) -> InferMAEST:
    """The network of `maest-infer` with the weights of ours."""
    peer = InferMAEST(img_size=(BANDS, 1875), stride=(10, 10), distilled=True, num_classes=CLASSES, depth=depth)
    peer.load_state_dict(ours.state_dict(), strict=True)
    return peer.eval()


def int8(ours: MAEST, block: int, threads: int) -> Callable[[], object]:
    """The ONNX file with products in 8 bits, on a clip of audio: logits and the tokens of a block.

    A process of its own makes the file: what that leaves in the heap would spare `maest-infer` the page faults that it
    meets wherever it is used alone, half of its time.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        maker = multiprocessing.get_context("spawn").Process(target=write_int8, args=(file, ours, block))
        maker.start()
        maker.join()
        session = open_onnx(file, threads)
    audio = torch.randn(1, FRAMES * HOP).mul(0.1).numpy()
    return lambda: session.run(None, {INPUT: audio})


def write_int8(file: Path, ours: MAEST, block: int) -> None:
    """Writes the ONNX file of a network and its front end."""
    frontend = build("musicnn")
    inputs = Inputs(frontend, frontend.mean, frontend.std)
    network = ours.export_form(inputs, [ours.layer_names[block]], FRAMES, fused=True)
    write_onnx(file, network, {}, int8=True)


def transformers_ast(depth: int) -> ASTForAudioClassification:
    """AST of the same shape, with the fused attention kernel."""
    config = ASTConfig(
        num_hidden_layers=depth,
        num_mel_bins=BANDS,
        max_length=FRAMES,
        num_labels=CLASSES,
        attn_implementation="sdpa",
    )
    return ASTForAudioClassification(config).eval()


if __name__ == "__main__":
    main()
