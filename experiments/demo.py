"""The whole flow on the demo corpus, by the commands a user would type; `make demo` runs it.

Each command is printed before it runs, so that any of them can be repeated, changed and sent to other data. Those that
ended well are not run again, up to the first one that did not or whose result is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import demo
from datasets.text import printable_lines
from experiments.errors import UserError
from experiments.tracking import TrackingSettings
from experiments.tracking.location import located
from models.kernels.mode import UnknownMode, enabled

FOLDER = Path("outputs/demo")
FINISHED = FOLDER / "finished.json"  # [command line, folder it left], in order
RUNS = Path("runs")
WITHOUT_NETWORK = ("librosa_tempo", "key_krumhansl")  # of preprocess.summaries
ENDED_EARLY = "The demo ended early; the same command goes on with it."
SYSTEM = ("maest_10s_random_weights_pretrain", "demo")
TAGGER = ("short_chunk", "demo")
TAGGER_LAYER = "layer7"  # the last one before the hidden layer


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        title: What is said before it.
        command: Arguments of Python.
        leaves: A folder; or a file that is looked for in the newest run that has one.
    """

    title: str
    command: tuple[str, ...]
    leaves: Path

    @property
    def result(self) -> Path | None:
        """The folder with what the command left; None where there is none."""
        if self.leaves.is_relative_to(FOLDER):
            return self.leaves if self.leaves.exists() else None
        found = sorted(RUNS.glob(f"*/{self.leaves}"), key=lambda path: path.stat().st_mtime)
        return found[-1].parents[1] if found else None


def steps(size: str, audio: Path) -> Generator[Step, Path, None]:
    """The steps in order; `audio` is the corpus. Each is to be sent the folder that the one before left."""
    corpus = _corpus(size)

    def train(title: str, program: str, system: tuple[str, ...]) -> Step:
        """Trains, or goes on with a training that was interrupted."""
        return Step(title, (program, "with", *system, "resume=True", *corpus), Path("checkpoints/last.ckpt"))

    def extract(title: str, store: str, *which: str) -> Step:
        place = (f"inference.out_dir={FOLDER / store}", "inference.overwrite=True")
        command = ("ex_pretrain.py", "extract_embeddings", "with", *which, *place, *corpus)
        return Step(title, command, FOLDER / store)

    title = "1/7  pre-train a small MAEST to tag instruments and styles"
    trained = yield train(title, "ex_pretrain.py", SYSTEM)
    yield extract("2/7  extract its embeddings", "pretrained", *SYSTEM, f"inference.checkpoint={trained}")
    title = "3/7  extract those of the same network before training, to compare"
    yield extract(title, "random_weights", *SYSTEM, "inference.random_weights=True")
    for name in WITHOUT_NETWORK:
        command = ("-m", "preprocess", str(audio), str(FOLDER / name), "--frontend", name, "--renew")
        yield Step("4/7  what needs no network: librosa's tempo, templates of keys", command, FOLDER / name)
    title = "5/7  train a convolutional tagger of raw audio on the same tags"
    tagger = yield train(title, "ex_transfer.py", TAGGER)
    yield extract(
        "6/7  extract its embeddings",
        "short_chunk",
        f"inference.checkpoint={tagger}",
        f"inference.layer={TAGGER_LAYER}",
    )
    title = "7/7  probe all of them, and plain mel statistics, on all tasks"
    yield Step(title, ("ex_probe.py", "with", "demo", *corpus), Path("files/comparison.txt"))


def _corpus(size: str) -> tuple[str, ...]:
    return () if size == "small" else (f"datamodule.demo_size={size}",)


def finished() -> list[tuple[str, Path]]:
    """The command lines that ended well, in order, and the folder that each left."""
    try:
        return [(str(line), Path(left)) for line, left in json.loads(FINISHED.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def do(number: int, step: Step) -> Path:
    """Print a command as it would be typed and run it, unless it and all before it ended well and left what is there.

    A failure ends the demo with its exit code.

    Args:
        number: Of the step, from 0.
        step: What to do.

    Returns:
        The folder that the command left.
    """
    line = f"python {' '.join(step.command)}"
    print(f"\n== {step.title}\n\n$ {line}", flush=True)
    before = finished()
    if number < len(before) and before[number][0] == line and before[number][1].exists():
        print(f"finished before, kept: {before[number][1]}")
        return before[number][1]
    _remember(before[:number])
    _run(step.command)
    result = step.result
    if result is None:
        sys.exit(f"error: {line} left nothing in {step.leaves}")
    _remember([*before[:number], (line, result)])
    return result


def _remember(steps: Sequence[tuple[str, Path]]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    aside = FINISHED.with_suffix(".aside")
    aside.write_text(json.dumps([(line, str(left)) for line, left in steps], indent=1), encoding="utf-8")
    aside.replace(FINISHED)


def _run(command: Sequence[str]) -> None:
    process = subprocess.Popen([sys.executable, *command])
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):  # the command gets it too, and ends when its state is saved
            process.wait()
    if process.returncode:
        print(ENDED_EARLY, file=sys.stderr)
        sys.exit(process.returncode)


def _through(flow: Generator[Step, Path, None]) -> Path:
    """Do all steps; returns the folder that the last one left."""
    left = do(0, next(flow))
    for number in itertools.count(1):
        try:
            step = flow.send(left)
        except StopIteration:
            break
        left = do(number, step)
    return left


def main() -> None:
    """Run the steps; `--size tiny` takes seconds and shows that everything runs, `small` is worth looking at."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo", description=main.__doc__)
    parser.add_argument("--size", default="small", help="tiny, small, or a number of tracks (default: %(default)s)")
    started = time.monotonic()
    size = parser.parse_args().size
    try:
        audio = demo.build(int(size) if size.isdecimal() else size) / "audio"
    except demo.DemoError as error:
        sys.exit(f"error: {printable_lines(error)}")
    except KeyboardInterrupt:
        sys.exit(f"\n{ENDED_EARLY}")
    known = finished()
    try:
        enabled()
        with located(TrackingSettings()):  # the server of all steps, which would otherwise start and stop with each
            left = _through(steps(size, audio))
    except (UserError, UnknownMode) as error:
        sys.exit(f"error: {printable_lines(error)}")
    if finished() == known:
        print(f"\n{(left / 'files' / 'comparison.txt').read_text(encoding='utf-8')}")
        print(f"Everything was finished before. To begin anew: rm -r {FOLDER}")
    minutes = (time.monotonic() - started) / 60
    print(
        f"\nDone in {minutes:.1f} min. The runs, their curves, pictures and tables are in {RUNS}/ and the database.\n"
        "Look at them:        make omniboard\n"
        "Your own music:      python ex_pretrain.py with maest_10s_random_weights_pretrain demo "
        "datamodule.base_dir=AUDIO_DIR datamodule.groundtruth=TABLE.csv"
    )


if __name__ == "__main__":
    main()
