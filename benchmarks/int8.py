"""What 8 bits cost: probes on embeddings of the demo corpus by the network, its ONNX file and its 8-bit ONNX file.

    python -m benchmarks.int8 --checkpoint runs/KEY [--block 2] [--size small]

All three see the same windows of the same audio; the probes, their choice and their intervals are those of
`ex_probe.py`. "behind" is how far an ONNX file is behind the network, paired over the test tracks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from datasets.progress import progress
from datasets.store import StoreWriter
from datasets.windows import Plan
from ex_probe import ex as probes
from experiments.encoder import Encoder
from experiments.inference.extraction import header
from experiments.settings import DatamoduleSettings
from experiments.tracks.data import DataSource, open_source
from models.frontends.musicnn import HOP
from models.maest.export import AudioNetwork
from models.network import main_head
from models.onnx_files import audio_session
from models.onnx_sessions import INPUT
from preprocess.decode import load as decode

EAGER, WHOLE, SMALL = "network", "ONNX", "ONNX int8"
Run = Callable[[torch.Tensor], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Embeds the corpus three times, prints errors and the table of probes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="of a trained network, as inference.checkpoint")
    parser.add_argument("--block", type=int, default=2, help="whose tokens are probed (default: 2)")
    parser.add_argument("--size", default="small", help="of the demo corpus (default: small)")
    parser.add_argument("--grid", default="quick", help="of the probes (default: quick)")
    arguments = parser.parse_args()
    size = int(arguments.size) if arguments.size.isdigit() else arguments.size
    encoder = Encoder.load(arguments.checkpoint, device="cpu")
    source = open_source(DatamoduleSettings(demo_size=size), encoder.frontend)
    runs = contestants(encoder, arguments.block)
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: Path(folder) / name.replace(" ", "_") for name in runs}
        logits = embed(source, encoder, runs, stores, arguments.block)
        for name in (WHOLE, SMALL):
            error = logits[name] - logits[EAGER]
            spread = np.sqrt(np.square(error).mean()) / logits[EAGER].std()
            print(f"{name}: logits off by at most {np.abs(error).max():.1e}, {spread:.2%} of their spread")
        compared = [f"embeddings.compare.{name}={stores[name]}" for name in (WHOLE, SMALL)]
        words = ["with", f"embeddings.store={stores[EAGER]}", *compared, f"datamodule.demo_size={size}"]
        words += [f"probe.grid={arguments.grid}", "tracking.mongo=off", f"tracking.runs_dir={folder}/runs"]
        probes.run_commandline(["ex_probe.py", *words])


def contestants(encoder: Encoder, block: int) -> dict[str, Run]:
    """The network by the way of `predict`, and sessions of its ONNX files: logits and `[windows, 3, dim]`."""

    def eager(audio: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        mel, layer = encoder.frontend(audio)[:, : encoder.window], encoder.network.layer_names[block]
        with torch.inference_mode():
            logits, tokens = encoder.network.forward_and_embed((mel - encoder.mean) / (2 * encoder.std), [layer])
        return main_head(logits).numpy(), tokens[layer].numpy()

    def session(int8: bool) -> Run:
        parts = (encoder.network, encoder.frontend, encoder.mean, encoder.std)
        network = AudioNetwork(*parts, [block], fused=int8)
        opened = audio_session(network, int8, torch.get_num_threads())

        def run(audio: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
            logits, embeddings = opened.run(None, {INPUT: audio.numpy()})
            return logits, embeddings[:, 0]

        return run

    return {EAGER: eager, WHOLE: session(int8=False), SMALL: session(int8=True)}


def embed(
    source: DataSource, encoder: Encoder, runs: dict[str, Run], stores: dict[str, Path], block: int
) -> dict[str, np.ndarray]:
    """Fills a store by each contestant; all logits, a row a window."""
    dim = encoder.network.dim
    writers = {
        name: StoreWriter(stores[name], header("embeddings", (3, dim), "tokens", {"by": name, "block": block}))
        for name in runs
    }
    logits: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    ids = list(source.features.ids)
    with progress("embedding", len(ids), "tracks") as advance:
        for identity in ids:
            about = source.features.row(identity)
            clips = windows(source.base_dir / identity, source.features.length(identity), encoder.window)
            for name, run in runs.items():
                scores, tokens = run(clips)
                logits[name].append(scores)
                writers[name].append(identity, tokens, about["source"], about["duration"], about["checksum"])
            advance()
    for writer in writers.values():
        writer.close()
    return {name: np.concatenate(parts) for name, parts in logits.items()}


def windows(file: Path, length: int, frames: int) -> torch.Tensor:
    """Consecutive windows of a file of `length` frames, `[windows, samples]`; the last may end in zeros."""
    samples = torch.from_numpy(decode(file, 16_000))
    starts = Plan(frames, frames).starts(length)
    padded = torch.nn.functional.pad(samples, (0, max(0, (starts[-1] + frames) * HOP - len(samples))))
    return torch.stack([padded[start * HOP : (start + frames) * HOP] for start in starts])


if __name__ == "__main__":
    main()
