"""The whole flow on the demo corpus, by the commands a user would type; `make demo` runs it.

Each step is printed before it runs, so that any of them can be repeated, changed and sent to other data.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from datasets import demo

FOLDER = Path("outputs/demo")
WITHOUT_NETWORK = ("librosa_tempo", "key_krumhansl")  # of preprocess.summaries
ENDED_EARLY = "The demo ended early; the same command goes on with it."
SYSTEM = ("maest_10s_random_weights_pretrain", "demo")


def training(size: str) -> list[str]:
    """The command line that trains, or goes on with a training that was interrupted."""
    return ["ex_pretrain.py", "with", *SYSTEM, "resume=True", *_corpus(size)]


def last_trained() -> Path:
    """The run that wrote a checkpoint last."""
    return max(Path("runs").glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime).parents[1]


def steps(size: str, audio: Path, trained: Path) -> list[tuple[str, list[list[str]]]]:
    """What is said before each further step, and its command lines; `audio` is the corpus, `trained` the run."""
    corpus = _corpus(size)

    def extract(store: str, weights: str) -> list[str]:
        place = [f"inference.out_dir={FOLDER / store}", "inference.overwrite=True"]
        return ["ex_pretrain.py", "extract_embeddings", "with", *SYSTEM, weights, *place, *corpus]

    return [
        ("2/5  extract its embeddings", [extract("pretrained", f"inference.checkpoint={trained}")]),
        (
            "3/5  extract those of the same network before training, to compare",
            [extract("random_weights", "inference.random_weights=True")],
        ),
        (
            "4/5  what needs no network: librosa's tempo, templates of keys",
            [
                ["-m", "preprocess", str(audio), str(FOLDER / name), "--frontend", name, "--renew"]
                for name in WITHOUT_NETWORK
            ],
        ),
        ("5/5  probe all of them, and plain mel statistics, on all tasks", [["ex_probe.py", "with", "demo", *corpus]]),
    ]


def _corpus(size: str) -> list[str]:
    return [] if size == "small" else [f"datamodule.demo_size={size}"]


def run(command: Sequence[str]) -> None:
    """Print a command as it would be typed and run it; a failure ends the demo with its exit code."""
    print(f"\n$ python {' '.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, *command])
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):  # the command is told too, and ends when it has saved its state
            process.wait()
    if process.returncode:
        print(ENDED_EARLY, file=sys.stderr)
        sys.exit(process.returncode)


def main() -> None:
    """Run the steps; `--size tiny` takes seconds and shows that everything runs, `small` is worth looking at."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo", description=main.__doc__)
    parser.add_argument("--size", default="small", help="tiny, small, or a number of tracks (default: %(default)s)")
    started = time.monotonic()
    size = parser.parse_args().size
    try:
        audio = demo.build(int(size) if size.isdecimal() else size) / "audio"
    except demo.DemoError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{ENDED_EARLY}")
    print("\n== 1/5  pre-train a small MAEST to tag instruments and styles")
    run(training(size))
    for what, commands in steps(size, audio, last_trained()):
        print(f"\n== {what}")
        for command in commands:
            run(command)
    minutes = (time.monotonic() - started) / 60
    print(
        f"\nDone in {minutes:.1f} min. The runs, their curves, pictures and tables are in runs/ and in the database.\n"
        "Look at them:        make omniboard\n"
        "Your own music:      python ex_pretrain.py with maest_10s_random_weights_pretrain demo "
        "datamodule.base_dir=AUDIO_DIR datamodule.groundtruth=TABLE.csv"
    )


if __name__ == "__main__":
    main()
