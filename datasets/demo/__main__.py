"""`python -m datasets.demo` builds the corpus; `python -m datasets.demo render MIDI_DIR OUT_DIR` renders MIDI files.

`python -m datasets.demo miniature CORPUS OUT_DIR` writes composed music in the layout of a published corpus.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from datasets.corpora import CORPORA
from datasets.demo import SIZES, DemoError, build
from datasets.demo.miniature import miniature
from datasets.demo.rendering import command_line
from datasets.store_files import StoreError
from datasets.tables import CorpusError
from datasets.text import printable, printable_lines


def parser() -> argparse.ArgumentParser:
    """The two commands and their options."""
    top = argparse.ArgumentParser(prog="python -m datasets.demo", description="Compose and render the demo corpus.")
    top.add_argument("--size", default="small", help=f"{', '.join(SIZES)}, or a number of tracks (default: small)")
    top.add_argument("--seed", type=int, default=0)
    top.add_argument(
        "--output", type=Path, help="cache folder to build in (default: $OSTINATO_CACHE or ~/.cache/ostinato)"
    )
    commands = top.add_subparsers(dest="command")
    render = commands.add_parser(
        "render", help="make a corpus of a folder of MIDI files", argument_default=argparse.SUPPRESS
    )
    render.add_argument("midi_dir", type=Path)
    render.add_argument("out_dir", type=Path)
    command_line.add_options(render)
    small = commands.add_parser("miniature", help="composed music under the names of a published corpus")
    small.add_argument("corpus", help=", ".join(CORPORA))
    small.add_argument("out_dir", type=Path)
    font = "General MIDI .sf2 file (default: the one in pretty_midi)"
    top.add_argument("--soundfont", type=Path, help=font)
    render.add_argument("--soundfont", type=Path, action="append", help=f"{font}; may be given several times")
    for command in (top, render):
        command.add_argument("--jobs", type=int, help="tracks at once, -1 for one each core (default: -1)")
    top.set_defaults(jobs=-1)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        if options.command is None:
            print(build(options.size, options.seed, options.output, options.soundfont, options.jobs))
            return 0
        if options.command == "miniature":
            only = miniature(options.corpus, options.out_dir)
            print(f"next: python -m preprocess {options.corpus} {options.out_dir} STORE_DIR --only {only}")
            return 0
        report = command_line.run(options)
    except (DemoError, CorpusError, StoreError) as error:
        print(f"error: {printable_lines(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # of a folder that cannot be written to, or a full disk
        where = printable(error.filename or "output")
        print(f"error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
    for path, reason in report.skipped:
        print(f"skipped {printable(path)}: {printable(reason)}", file=sys.stderr)
    kept = f"{report.kept} there already, " if report.kept else ""
    print(f"{len(report.written) - report.kept} rendered, {kept}{len(report.skipped)} skipped")
    return 0 if report.written else 1


if __name__ == "__main__":
    sys.exit(main())
