"""Every tagger on a CPU: forward pass and training step from audio, beside the networks as they are published.

    python -m benchmarks.taggers [--published FOLDER] [--weights FOLDER] [--networks fcn,...] [--rounds 5]
                                 [--threads 2] [--tiny]

FOLDER is a clone of `minzwon/sota-music-tagging-models`, whose networks are then run with their own front end
(torchaudio) and the weights of ours. Without it, and for networks that it does not have, ours is compared with the same
layers in plain PyTorch: convolution, batch norm, ReLU and pooling one after the other, and `torch.stft`. CNN14 is run
beside `panns_inference`, where that is installed. Ours runs with PyTorch's own kernels as well. Weights are drawn, or
come from the files `NAME/best_model.pth` of a folder, and only the networks that it has are run, forward passes alone.
Scores are compared before anything is timed. The contestants take turns; ratios are medians over the rounds. A training
step is forward, binary cross-entropy, backward and Adam; its work is counted as three forward passes. Memory is the
most that a process of its own takes above its start.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import multiprocessing
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import by_pytorch, race, ratio, report, roof
from experiments.configs.catalogue import TRANSFER
from experiments.encoder import Encoder
from models import networks
from models.cnn14 import ConvPair
from models.convolutional import ConvBlock, ResBlock, Tagger
from models.frontends.base import FrontEnd
from models.frontends.mel_db import MelDecibels
from models.harmonic_cnn import ResPoolBlock
from models.musicnn import Timbral
from models.network_input import own_frontend
from models.samplecnn import SampleBlock, SqueezeBlock

OURS, TORCH, PLAIN, PUBLISHED = "ours", "ours, PyTorch's kernels", "plain PyTorch", "published"
CLASSES = {  # of the published repository
    "fcn": "FCN", "crnn": "CRNN", "musicnn": "Musicnn", "samplecnn": "SampleCNN", "samplecnn_se": "SampleCNNSE",
    "short_chunk": "ShortChunkCNN", "short_chunk_res": "ShortChunkCNN_Res", "self_attention": "CNNSA",
    "harmonic_cnn": "HarmonicCNN",
}  # fmt: skip
BATCH, NEAR = 16, 1e-4  # windows; largest difference of two scores

Forward = Callable[[Tensor], Tensor]  # audio to scores


def conv_block(block: Any, x: Tensor) -> Tensor:
    """Of `ConvBlock` and `SampleBlock`."""
    return block.mp(torch.relu(block.bn(block.conv(x))))


def residual(block: Any, x: Tensor) -> Tensor:
    """Of `ResBlock` and `ResPoolBlock`."""
    shortcut = block.bn_3(block.conv_3(x)) if getattr(block, "reshapes", False) else x
    x = torch.relu(block.bn_2(block.conv_2(torch.relu(block.bn_1(block.conv_1(x))))) + shortcut)
    return block.mp(x) if hasattr(block, "mp") else x


def squeeze(block: Any, x: Tensor) -> Tensor:
    """Of `SqueezeBlock`."""
    shortcut = block.bn_3(block.conv_3(x)) if block.reshapes else x
    x = block.bn_2(block.conv_2(torch.relu(block.bn_1(block.conv_1(x)))))
    weights = torch.sigmoid(block.dense2(torch.relu(block.dense1(x.mean(2)))))
    return block.mp(torch.relu(x * weights[..., None] + shortcut))


def timbral(block: Any, x: Tensor) -> Tensor:
    """Of `Timbral`."""
    return torch.relu(block.bn(block.conv(x))).amax(2)


def pair(block: Any, x: Tensor) -> Tensor:
    """Of `ConvPair`."""
    x = torch.relu(block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x))))))
    return block.dropout(F.avg_pool2d(x, block.pool) if block.pool > 1 else x)


PLAINLY: Mapping[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    ConvBlock: conv_block, SampleBlock: conv_block, ResBlock: residual, ResPoolBlock: residual, SqueezeBlock: squeeze,
    Timbral: timbral, ConvPair: pair,
}  # fmt: skip


def plainly(network: Tagger, frontend: FrontEnd) -> tuple[nn.Module, Forward]:
    """A copy of the network, its blocks and its mel front end in plain PyTorch."""
    plain = copy.deepcopy(network)
    for block in plain.modules():
        if type(block) in PLAINLY:
            block.forward = types.MethodType(PLAINLY[type(block)], block)
    if not isinstance(frontend, MelDecibels):
        return plain, lambda audio: plain(frontend(audio))

    def scores(audio: Tensor) -> Tensor:
        size, window = frontend.n_fft, frontend.window
        spectrum = torch.stft(audio, size, frontend.hop, window=window, return_complex=True).abs().pow(2)
        mel = (spectrum.transpose(1, 2) @ frontend.filters).clamp(min=1e-10)
        return plain(10 * torch.log10(mel))

    return plain, scores


def published(folder: Path, name: str, network: Tagger) -> tuple[nn.Module, Forward] | None:
    """The network of the published repository with the weights of ours; None where it has none of this name.

    Its `training/model.py` is imported, and so runs: the folder is to be one that its user trusts.
    """
    if name not in CLASSES:
        return None
    source = folder / "training" if (folder / "training").is_dir() else folder
    if not (source / "model.py").is_file():
        raise SystemExit(f"--published {folder}: there is no training/model.py; give a clone of the repository")
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    try:
        theirs = getattr(importlib.import_module("model"), CLASSES[name])()
    except ImportError as error:
        raise SystemExit(f"--published {folder}: {error}; it needs torchaudio and librosa") from error
    missing, unexpected = theirs.load_state_dict(network.state_dict(), strict=False)
    if unexpected or any(not key.startswith(("spec.", "hstft.")) for key in missing):
        raise SystemExit(f"{name}: the published network has other weights, {[*missing, *unexpected][:3]}")
    return theirs, lambda audio: theirs(audio).logit()


def panns(name: str, network: Tagger) -> tuple[nn.Module, Forward] | None:
    """CNN14 of `panns_inference` with the weights of ours; None for other networks or without that package."""
    if name != "cnn14" or network.n_classes != 527:
        return None
    with tempfile.TemporaryDirectory() as home:  # or the package would download a list into the home folder
        (Path(home) / "panns_data").mkdir()
        (Path(home) / "panns_data" / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/0,a\n")
        before = os.environ.get("HOME", "")
        os.environ["HOME"] = home
        try:
            models = importlib.import_module("panns_inference.models")
        except ImportError:
            return None
        finally:
            os.environ["HOME"] = before
    theirs = models.Cnn14(32_000, 1024, 320, 64, 50, 14_000, 527)
    theirs.load_state_dict(network.state_dict(), strict=False)
    return theirs, lambda audio: theirs(audio)["clipwise_output"].logit()


@dataclass(frozen=True)
class Contest:
    """What is raced.

    Attributes:
        name: Of the network.
        published: Clone of the published repository.
        weights: Folder of files; None: they are drawn.
        tiny: Of small networks.
    """

    name: str
    published: Path | None = None
    weights: Path | None = None
    tiny: bool = False

    def network(self) -> Tagger:
        """Ours, with its weights."""
        torch.manual_seed(0)
        if self.weights is not None:
            return Encoder.load(str(file_of(self.weights, self.name))).network
        small = (TRANSFER["debug"].by_network or {}).get(self.name, {})
        return networks.find(self.name)(**(dict(small.get("model", {})) if self.tiny else {}))


def file_of(folder: Path, name: str) -> Path:
    """Where a folder has the weights of a network."""
    return folder / name / "best_model.pth"


def contestants(contest: Contest) -> tuple[Tagger, FrontEnd, dict[str, Any]]:
    """The network, its front end, and who takes turns by name: a module, and a function from audio to logits."""
    network, name, folder, tiny = contest.network(), contest.name, contest.published, contest.tiny
    frontend = own_frontend(network)
    found: dict[str, Any] = {}
    other = published(folder, name, network) if folder and not tiny else None
    found[PUBLISHED] = other or (None if tiny else panns(name, network))
    if found[PUBLISHED] is None:
        found = {PLAIN: plainly(network, frontend)}
    found[OURS] = (network, lambda audio: network(frontend(audio)))
    return network, frontend, found


def step(module: nn.Module, forward: Forward, audio: Tensor, y: Tensor) -> Callable[[], None]:
    """One optimisation step as a function."""
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.binary_cross_entropy_with_logits(forward(audio), y).backward()
        optimiser.step()

    return run


def turns(contest: Contest, training: bool, batch: int) -> tuple[dict[str, Any], int]:
    """What every contestant does in its turn, and the multiply-accumulates of a window.

    Raises:
        SystemExit: Their scores differ.
    """
    name, (network, frontend, found) = contest.name, contestants(contest)
    audio = 0.1 * torch.randn(batch, network.window_samples or frontend.n_samples(network.window))
    y = (torch.rand(batch, network.n_classes) < 0.1).float()
    with torch.no_grad():
        macs = network.macs(frontend(audio[:1]).shape[1:])
    for module, _ in found.values():
        module.train(training)
    if training:
        work = {one: step(module, forward, audio, y) for one, (module, forward) in found.items()}
        twin = copy.deepcopy(network)
        work[TORCH] = by_pytorch(lambda: step(twin, lambda audio: twin(frontend(audio)), audio, y))
        return work, macs
    ready = network.prepared()
    found[OURS] = (ready, lambda audio: ready(frontend(audio)))
    with torch.inference_mode():
        ours, *others = (found[one][1](audio).sigmoid() for one in sorted(found, key=lambda one: one != OURS))
    differences = [(ours - other).abs().max().item() for other in others]
    print(f"{name}: largest difference of scores {max(differences):.1e}")
    if max(differences) > NEAR:
        raise SystemExit(f"{name}: the scores differ by more than {NEAR}")
    work = {one: inferred(forward, audio) for one, (_, forward) in found.items()}
    work[TORCH] = by_pytorch(lambda: inferred(found[OURS][1], audio))
    return work, macs


def inferred(forward: Forward, audio: Tensor) -> Callable[[], Tensor]:
    """A forward pass without gradients as a function."""
    return torch.inference_mode()(lambda: forward(audio))


def peak(settings: tuple[Any, ...], contestant: str, threads: int) -> float:
    """MB that one contestant takes above its start, in this process."""
    torch.set_num_threads(threads)
    work = turns(*settings)[0][contestant]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: a process begins with that of its parent
    before = resident("VmRSS")
    for _ in range(2):
        work()
    return resident("VmHWM") - before


def resident(key: str) -> float:
    """MB of this process: `VmRSS` now, `VmHWM` at most. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def main() -> None:
    """Runs the races and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in networks.names() if issubclass(networks.find(name), Tagger)]
    parser.add_argument("--published", type=Path, help="clone of minzwon/sota-music-tagging-models; its code is run")
    parser.add_argument(
        "--weights",
        type=Path,
        help="folder of NAME/best_model.pth, as models/mtat of that clone has fcn, musicnn and crnn",
    )
    parser.add_argument("--networks", default=",".join(names), help="some of them, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contestant (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of all")
    parser.add_argument("--tiny", action="store_true", help="small networks, few windows: shows that it runs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    batch, summary = 2 if arguments.tiny else BATCH, []
    chosen = arguments.networks.split(",")
    if arguments.weights:
        chosen = [name for name in chosen if file_of(arguments.weights, name).is_file()]
        if not chosen:
            raise SystemExit(f"--weights {arguments.weights}: there is no NAME/best_model.pth of {arguments.networks}")
    for name in chosen:
        ratios, contest = [], Contest(name, arguments.published, arguments.weights, arguments.tiny)
        races = [(False, 1), (False, batch)] + ([] if arguments.weights else [(True, batch)])
        for training, windows in races:
            settings = (contest, training, windows)
            work, macs = turns(*settings)
            best = roof(rounds=1 if arguments.tiny else 5)
            timings = race(work, arguments.rounds)
            flops = dict.fromkeys(work, 2.0 * macs * windows * (3 if training else 1))
            kind = "training step" if training else "forward pass"
            report(f"{name}: {kind}, batch {windows}", timings, flops, OURS, best)
            peer = next(one for one in work if one != OURS)
            ratios.append(f"{ratio(timings, peer, OURS)[0]:.2f} (CPU {ratio(timings, peer, OURS)[1]:.2f})")
            if training and not arguments.tiny:
                print(", ".join(f"{one}: {memory(settings, one, arguments.threads):.0f} MB" for one in work))
            print(f"{TORCH} / ours: {ratio(timings, TORCH, OURS)[0]:.2f}")
        summary.append(f"| {name} | {peer} | " + " | ".join(ratios) + " |")
    titles = ["network", "beside", *(f"{'training' if trains else 'forward'}, batch {n}" for trains, n in races)]
    print("\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *summary]))


def memory(settings: tuple[Any, ...], contestant: str, threads: int) -> float:
    """The same in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (settings, contestant, threads))


if __name__ == "__main__":
    main()
