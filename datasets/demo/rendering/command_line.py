"""`python -m datasets.demo render`: its options, and what they stand for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from datasets.demo.errors import DemoError
from datasets.demo.midi import Rendering, render_folder
from datasets.demo.rendering.corpus import RATES, Settings, render_corpus
from datasets.demo.rendering.recipes import KINDS

ALL = "all"


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of the command but for folders, soundfonts and jobs."""
    default = Settings()
    shares = ",".join(f"{name}={kind.share:g}" for name, kind in KINDS.items())
    command.add_argument(
        "--kinds",
        help=f"variants for training: {ALL} ({shares}) or some (default: as written)",
    )
    command.add_argument("--variants", type=float, help="clips a piece, on the average (default: 1)")
    command.add_argument("--limit", type=int, help="most clips")
    command.add_argument("--hours", type=float, help="hours of audio, in place of a number of clips")
    command.add_argument(
        "--seconds",
        type=float,
        nargs=2,
        metavar=("SHORTEST", "LONGEST"),
        help="length of clips (default: {:g} {:g})".format(*default.seconds),
    )
    command.add_argument("--rate", type=int, choices=RATES, help=f"samples a second (default: {default.rate})")
    command.add_argument("--splits", help="shares of the pieces (default: train=0.9,valid=0.05,test=0.05)")
    command.add_argument("--keep-splits", action="store_true", help="pieces stay in the split that an info.csv says")
    command.add_argument("--seed", type=int, help="the same seed gives the same corpus (default: 0)")


def run(options: argparse.Namespace) -> Rendering:
    """Render a folder, as written or in variants.

    Raises:
        DemoError: Something that was given cannot be used.
    """
    given = vars(options)
    if "kinds" not in given:
        fonts = given.get("soundfont") or [None]
        return render_folder(options.midi_dir, options.out_dir, fonts[0], options.jobs)
    settings = {name: given[name] for name in ("rate", "keep_splits") if name in given}
    settings["seed"] = options.seed
    if options.kinds != ALL:
        settings["kinds"] = _shares(options.kinds, "--kinds", {name: kind.share for name, kind in KINDS.items()})
    if "splits" in given:
        settings["splits"] = _shares(options.splits, "--splits", {})
    if "seconds" in given:
        settings["seconds"] = tuple(options.seconds)
    if given.get("soundfont"):
        settings["soundfonts"] = tuple(options.soundfont)
    amounts = {name: given[name] for name in ("variants", "limit", "hours") if name in given}
    report = render_corpus(options.midi_dir, options.out_dir, Settings(**settings), jobs=options.jobs, **amounts)
    facts = json.loads((options.out_dir / "corpus.json").read_text(encoding="utf-8"))
    print(f"{facts['hours']:.2f} h of audio from {facts['pieces']} pieces, {facts['megabytes']:.0f} MB")
    return report


def _shares(text: str, option: str, usual: Mapping[str, float]) -> dict[str, float]:
    """`a=0.7,b` -> a share for each name; one without a number has its usual one, or 1.

    Raises:
        DemoError: It is something else.
    """
    shares = {}
    for item in text.split(","):
        name, _, number = item.strip().partition("=")
        try:
            shares[name] = float(number) if number else usual.get(name, 1.0)
        except ValueError:
            shares[name] = -1.0
        if not name or not 0 <= shares[name] < float("inf"):
            raise DemoError(f"{option} {text}: expected names with shares, such as NAME=0.8,OTHER=0.2")
    return shares
