"""`python -m preprocess import` and `python -m preprocess huggingface`: encoders that are not ours into stores."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.corpora import CORPORA

IMPORT = """\
Put features that another program computed into a store of embeddings, for ex_probe.py. SOURCE is a folder of .npy, one
[values] or [rows, values] a track (the layout of jukemir's features), or a CSV, TSV or Parquet table with a column of
ids and columns of numbers, or one of lists. Stopped at any moment, the same command goes on."""

HUGGINGFACE = """\
Run an audio encoder of Hugging Face's `transformers`, from a folder on this machine (config.json,
preprocessor_config.json, *.safetensors), over a folder of audio, and keep its pooled hidden states: a store a block in
STORE_DIR/block_00, ... Nothing is downloaded. Stopped at any moment, the same command goes on; files that cannot be
used are listed with the reason in STORE_DIR/skipped.csv."""


def run_import(argv: Sequence[str]) -> Iterator[str]:
    """Import, and say what was done."""
    from preprocess.foreign import import_features
    from preprocess.vector_files import LAYOUTS

    parser = _parser("import", IMPORT)
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder of .npy, or a .csv, .tsv or .parquet file")
    parser.add_argument("store_dir", metavar="STORE_DIR", type=Path, help="folder of the store; made, or added to")
    parser.add_argument(
        "--encoder", metavar="NAME", help="what computed them; the name of SOURCE where it is not given"
    )
    parser.add_argument("--layout", choices=list(LAYOUTS), help="where the suffix does not tell")
    parser.add_argument("--audio", type=Path, metavar="DIR", help="audio or a store of it: tracks get the ids of files")
    parser.add_argument("--corpus", choices=sorted(CORPORA), help="the vectors have jukemir's ids of this corpus")
    parser.add_argument("--id", metavar="COLUMN", help="the ids of a table")
    parser.add_argument("--columns", metavar="A,B,C", help="the features of a table; all numbers where not given")
    parser.add_argument("--block", type=int, metavar="N", help="of the network, for the table of results")
    parser.add_argument("--max-unmatched", type=float, default=0.0, metavar="SHARE", help="of vectors without audio")
    given = parser.parse_args(argv)
    report = import_features(
        given.source,
        given.store_dir,
        given.encoder,
        given.layout,
        given.audio,
        given.corpus,
        given.id,
        given.columns.split(",") if given.columns else None,
        given.block,
        given.max_unmatched,
        not given.quiet,
    )
    yield f"{report.store}: {report.written} tracks written, {report.already} already there, {report.size} values each"
    if report.passed_over:
        yield f"  columns of texts are no features: {', '.join(report.passed_over[:8])}"
    if report.unmatched:
        yield f"  {len(report.unmatched)} vectors match no audio, all in {report.store / 'skipped.csv'}"
    if report.without_vectors:
        yield f"  {len(report.without_vectors)} tracks have no vector, for instance {report.without_vectors[0]}"
    yield f"next: python ex_probe.py with embeddings.store={report.store} datamodule.base_dir=AUDIO_DIR"


def run_huggingface(argv: Sequence[str]) -> Iterator[str]:
    """Extract, and say what was done."""
    parser = _parser("huggingface", HUGGINGFACE)
    parser.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help="folder of the encoder")
    parser.add_argument("audio_dir", metavar="AUDIO_DIR", type=Path, help="folder of audio files")
    parser.add_argument("store_dir", metavar="STORE_DIR", type=Path, help="folder of the stores; made, or added to")
    parser.add_argument("--blocks", type=_numbers, metavar="0,5,11", help="counted from 0; all where not given")
    parser.add_argument("--pooling", choices=["mean", "cls"], default="mean", help="of the positions of a window")
    parser.add_argument("--seconds", type=float, metavar="S", help="of a window; else the encoder's own, or 10")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="windows at a time")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where it runs")
    parser.add_argument("--retry", action="store_true", help="try files again that were skipped before")
    given = parser.parse_args(argv)
    from preprocess.build_report import changed_line
    from preprocess.encoding import extract

    report = extract(
        given.model_dir,
        given.audio_dir,
        given.store_dir,
        given.blocks,
        given.pooling,
        given.seconds,
        given.batch_size,
        given.device,
        given.retry,
        not given.quiet,
    )
    done = f"{report.written} tracks written, {report.already} already there, {len(report.skipped)} skipped"
    yield f"{report.store}: {done}; blocks {', '.join(map(str, report.blocks))}, {report.size} values each"
    if report.changed:
        yield f"  {changed_line(report, 'another STORE_DIR')}"
    if report.noted:
        yield f"  {len(report.noted)} tracks have a note, most of files cut short: {report.store / 'notes.csv'}"
    if report.skipped:
        yield f"  all in {report.store / 'skipped.csv'}; they are tried again when they change, or with --retry"
    yield f"next: python ex_probe.py with embeddings.store={report.store} datamodule.base_dir={given.audio_dir}"


def _numbers(text: str) -> list[int]:
    """Whole numbers joined by commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0,5,11") from None


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"python -m preprocess {name}", None, about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


COMMANDS = {"import": run_import, "huggingface": run_huggingface}
