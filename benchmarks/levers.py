"""What each way to faster inference costs in the score of probes, on the demo corpus with the network of `make demo`.

    make demo                                # once; its second step names the run
    python -m benchmarks.levers --checkpoint runs/KEY [--size small] [--grid quick]
    python -m benchmarks.levers --profile            # which operations the time of MAEST goes to, 30 s, random weights

Every lever extracts the corpus by the code of `ex_pretrain.py extract_embeddings` (ONNX files by onnxruntime, from the
audio, through the same windows), and `ex_probe.py`'s code probes them all, chosen on validation. "behind" is the 95 %
interval of how far a lever is behind the first row on the test tracks, paired over tracks. "error" is the relative
distance of its tokens from those of the first row, mean and 99 %, where it changes the arithmetic alone. Speed is that
of this small network, all levers in turns; `benchmarks.inference` has the same levers on the whole one. ONNX files run
to the logits.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import training_step
from benchmarks.machine import describe, race, ratio
from benchmarks.operations import shares
from benchmarks.operations import table as share_table
from datasets.store import Store
from datasets.windows import pad_centred
from experiments.configs.catalogue import PRETRAIN
from experiments.encoder import Encoder
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header
from experiments.networks.opening import open_encoder
from experiments.probes.experiment import probe
from experiments.probes.report import COMPARISON
from experiments.probes.representations import MAIN
from experiments.reports import with_interval
from experiments.settings import DatamoduleSettings, EmbeddingsSettings, PretrainSettings, ProbeExperimentSettings
from experiments.tracking import RunHandle
from experiments.tracks.data import DataSource, open_source
from models.maest import MAEST
from models.maest.export import AudioNetwork
from models.maest.flops import cost
from models.onnx_files import audio_session
from models.onnx_sessions import INPUT
from models.running import tokens_of
from preprocess.decode import load

SYSTEM = ("maest_10s_random_weights_pretrain", "demo")
BLOCK = 2
WINDOWS = 16  # of a batch in the race


@dataclass(frozen=True)
class Lever:
    """One way to run the network.

    Attributes:
        block: Whose tokens are stored; the network stops behind it.
        model: Settings of the network that differ.
        trainer: Settings of the arithmetic that differ.
        onnx: Run an ONNX file: with products in 8 or in 32 bits; None runs PyTorch.
    """

    block: int = BLOCK
    model: dict[str, int] = field(default_factory=dict)
    trainer: dict[str, str] = field(default_factory=dict)
    onnx: int | None = None


HALF = {"s_patchout_t_interleaved": 2}
LEVERS: dict[str, Lever] = {
    MAIN: Lever(),
    "to the last block": Lever(block=3),
    "stop at block 1": Lever(block=1),
    "stop at block 0": Lever(block=0),
    "half the tokens (time)": Lever(model=HALF),
    "half the tokens (frequency)": Lever(model={"s_patchout_f_interleaved": 2}),
    "a quarter of the tokens": Lever(model={**HALF, "s_patchout_f_interleaved": 2}),
    "bfloat16": Lever(trainer={"precision": "bf16-mixed"}),
    "ONNX, 32 bits": Lever(onnx=32),
    "ONNX, 8 bits": Lever(onnx=8),
    "ONNX, 8 bits, half the tokens": Lever(onnx=8, model=HALF),
}

ARITHMETIC = ("bfloat16", "ONNX, 32 bits", "ONNX, 8 bits")


class Audio:
    """Windows of samples in the place of windows of log-mel, for networks with a front end of their own."""

    def __init__(self, source: DataSource) -> None:
        self.source, self.hop = source, source.frontend.hop
        self.last: tuple[str, np.ndarray] = ("", np.empty(0))

    def length(self, identity: str) -> int:
        """Frames of a track, as its log-mel has them."""
        return self.source.features.length(identity)

    def read_crop(self, identity: str, start: int, frames: int) -> np.ndarray:
        """`[256 frames]` samples, centred in zeros where there are fewer."""
        if self.last[0] != identity:
            self.last = (identity, load(self.source.base_dir / identity, self.source.frontend.sample_rate))
        cut = self.last[1][start * self.hop : (start + frames) * self.hop]
        return pad_centred(cut, frames * self.hop)


def deep(*parts: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries laid over each other."""
    made: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            made[key] = deep(made.get(key, {}), value) if isinstance(value, dict) else value
    return made


class LeverContest:
    """The corpus, the checkpoint, and what every lever makes of them."""

    def __init__(self, size: str | int, checkpoint: Path, folder: Path, threads: int) -> None:
        self.size, self.checkpoint, self.folder, self.threads = size, checkpoint, folder, threads
        self.source = open_source(self.settings(Lever()).datamodule, self.encoder(Lever()).frontend)

    def settings(self, lever: Lever) -> PretrainSettings:
        """As the command line of the demo would give them."""
        own = {
            "model": lever.model,
            "trainer": lever.trainer,
            "datamodule": {"demo_size": self.size},
            "inference": {"checkpoint": str(self.checkpoint)},
        }
        return PretrainSettings(**deep(*(dict(PRETRAIN[name].values) for name in SYSTEM), own))

    def encoder(self, lever: Lever) -> Encoder:
        """The trained network."""
        return open_encoder(self.settings(lever))

    @cached_property
    def frames(self) -> int:
        """Of a window."""
        return self.encoder(Lever()).window

    def run_batch(self, name: str) -> Callable[[torch.Tensor], list[np.ndarray]]:
        """From a batch of windows to `[windows, 3, dim]`."""
        lever, encoder = LEVERS[name], self.encoder(LEVERS[name])
        if lever.onnx is None:
            layer = encoder.network.layer_names[lever.block]
            return encoder.runner(partial(tokens_of, layers=[layer]), torch.float16)
        int8, parts = lever.onnx == 8, (encoder.network, encoder.frontend, encoder.mean, encoder.std)
        session = audio_session(AudioNetwork(*parts, [lever.block], fused=int8), int8, self.threads)
        return lambda clips: [session.run(["embeddings"], {INPUT: clips.numpy()})[0][:, 0].astype(np.float16)]

    def features(self, lever: Lever) -> Any:
        """What its windows are cut from."""
        return self.source.features if lever.onnx is None else Audio(self.source)

    def store(self, name: str, run_batch: Callable[[torch.Tensor], list[np.ndarray]]) -> Path:
        """Extract the corpus."""
        lever, encoder = LEVERS[name], self.encoder(LEVERS[name])
        producer = {"lever": name, "weights": encoder.weights}
        made = header("embeddings", (3, encoder.network.dim), "CLS, DIST, mean of the other tokens", producer)
        output = Output(self.folder / name, made)
        job = Job(self.features(lever), encoder.windowing(self.frames), run_batch, [output], WINDOWS)
        report = extract(job, self.source.features.ids)
        if report.skipped:
            raise SystemExit(f"{name}: {len(report.skipped)} tracks were skipped, {report.skipped[0]} for instance")
        return output.folder

    def gigaflops(self, lever: Lever) -> float:
        """Of a window."""
        blocks = None if lever.onnx else lever.block + 1
        return cost(self.encoder(lever).network, self.frames, blocks=blocks).flops / 1e9

    def batch(self, lever: Lever) -> torch.Tensor:
        """Windows for the race."""
        features, ids = self.features(lever), self.source.features.ids
        crops = [features.read_crop(ids[number % len(ids)], 0, self.frames) for number in range(WINDOWS)]
        return torch.from_numpy(np.stack(crops))


def error(store: Path, exact: Path) -> str:
    """Relative L2 distance of the tokens of two stores, mean and 99 %."""
    one, other = Store(store), Store(exact)
    found = []
    for identity in other.ids:
        tokens, expected = (each.read(identity).astype(np.float64) for each in (one, other))
        found.append(np.linalg.norm(tokens - expected, axis=-1) / np.linalg.norm(expected, axis=-1))
    apart = np.concatenate([each.ravel() for each in found])
    return f"{apart.mean():.2%}, {np.quantile(apart, 0.99):.2%}"


def operations() -> Table:
    """Shares of the time of a forward pass and of a training step of MAEST, whole size."""
    torch.manual_seed(0)
    network = MAEST(n_frames=1875, time_positions=187).eval()
    x, columns = torch.randn(1, 1875, 96), {}
    with torch.inference_mode():
        columns["forward pass"] = shares(lambda: network(x))
        with torch.autocast("cpu", torch.bfloat16):
            columns["in bfloat16"] = shares(lambda: network(x))
    for name, title in ((training_step.OURS, "training step"), (training_step.MIXED, "training step in bfloat16")):
        columns[title] = shares(training_step.contestant(name, 12, 2, 30.0)[0])
    return share_table("MAEST, clips of 30 s, a training step of two with patchout: share of CPU time", columns)


def scores(stores: dict[str, Path], size: str | int, grid: str, folder: Path) -> list[dict[str, str]]:
    """The table that `ex_probe.py` leaves."""
    settings = ProbeExperimentSettings(
        embeddings=EmbeddingsSettings(
            store=str(stores[MAIN]),
            compare={name: str(store) for name, store in stores.items() if name != MAIN},
            baselines=["majority_or_mean"],
        ),
        datamodule=DatamoduleSettings(demo_size=size),
        probe={"grid": grid, "sweep_dir": str(folder / "sweeps")},
    )
    folder.mkdir(parents=True, exist_ok=True)
    probe(settings, RunHandle(folder, seed=0))
    with (folder / COMPARISON).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def table(
    rows: list[dict[str, str]], speeds: dict[str, float], gigaflops: dict[str, float], errors: dict[str, str]
) -> Table:
    """A line a lever; of every task its first metric."""
    made = Table(
        title=f"levers of inference and the probes behind them in per cent, block {BLOCK} where nothing is said"
    )
    tasks = {row["task"]: row["metric"] for row in reversed(rows)}
    columns = [f"{task}, {metric}" for task, metric in reversed(tasks.items())]
    for column in ("", "GFLOP", "times faster", "error", *(cell for name in columns for cell in (name, "behind"))):
        made.add_column(column, justify="left" if not column else "right")
    for name in dict.fromkeys(row["representation"] for row in rows):
        cells = [name, *(f"{found[name]:.2f}" if name in found else "" for found in (gigaflops, speeds))]
        cells.append(errors.get(name, ""))
        for task, metric in reversed(tasks.items()):
            row = next(r for r in rows if (r["task"], r["metric"], r["representation"]) == (task, metric, name))
            cells.append(with_interval(*(float(row[key]) for key in ("value", "low", "high"))))
            ends = (row["behind_low"], row["behind_high"])
            cells.append(" to ".join(f"{100 * float(end):+.1f}" for end in ends) if all(ends) else "")
        made.add_row(*cells)
    return made


def main() -> None:
    """Extracts, races, probes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="of the demo corpus (default: small)")
    parser.add_argument("--checkpoint", type=Path, help="of a trained network, as inference.checkpoint")
    parser.add_argument("--profile", action="store_true", help="print where the time of MAEST goes instead")
    parser.add_argument("--grid", default="quick", help="of the probes (default: quick)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of every lever in the race (default: 15)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="keep the stores there; the same command again goes on with them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.profile:
        Console(width=120).print(describe(), operations(), sep="\n")
        return
    if options.checkpoint is None or not options.checkpoint.exists():
        raise SystemExit(f"--checkpoint={options.checkpoint}: no such file or folder; `make demo` trains a network")
    with contextlib.ExitStack() as stack:
        scratch = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        size = int(options.size) if options.size.isdigit() else options.size
        contest = LeverContest(size, options.checkpoint, Path(scratch), options.threads)
        ways = {name: contest.run_batch(name) for name in LEVERS}
        clips = {name: contest.batch(lever) for name, lever in LEVERS.items()}
        timings = race({name: partial(way, clips[name]) for name, way in ways.items()}, options.rounds)
        stores = {name: contest.store(name, way) for name, way in ways.items()}
        rows = scores(stores, size, options.grid, Path(scratch) / "probes")
        speeds = {name: ratio(timings, MAIN, name)[0] for name in LEVERS}
        gigaflops = {name: contest.gigaflops(lever) for name, lever in LEVERS.items()}
        errors = {name: error(stores[name], stores[MAIN]) for name in ARITHMETIC}
    console = Console(width=170)
    console.print(describe())
    console.print(table(rows, speeds, gigaflops, errors))


if __name__ == "__main__":
    main()
