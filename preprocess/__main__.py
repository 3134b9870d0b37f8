"""`python -m preprocess AUDIO_DIR STORE_DIR`: any folder of audio to a store of features, or of audio at one rate.

`python -m preprocess CORPUS DATA_DIR STORE_DIR`: a published corpus to a store with its splits and annotations.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.text import printable, printable_lines
from models.clmr_shapes import SAMPLE_RATE

if TYPE_CHECKING:
    from datasets.corpora import Definition
    from preprocess.build_report import BuildReport
    from preprocess.cluster import Cluster

DESCRIPTION = """\
Compute the features of every audio file below AUDIO_DIR (wav, flac, ogg, opus, mp3, aiff; m4a and more where ffmpeg is
on the PATH) and keep them in STORE_DIR. With --audio RATE, keep the audio itself, mono at that sample rate, for
networks that compute their features in training: in 16 bits, or unrounded with --exact. If the command is stopped, run
it again: it continues where it was. Files that cannot be used are skipped and listed with the reason in
STORE_DIR/skipped.csv."""

CORPUS_DESCRIPTION = """\
Find the recordings of {title} below DATA_DIR by the names of their files, compute their features (or, with --audio
RATE, keep their audio) into STORE_DIR, and write splits and annotations beside them (tracks.csv). Then
datamodule.base_dir=STORE_DIR is all that a run needs. Recordings that are missing or unreadable are listed with the
reason in STORE_DIR/missing.csv."""

FRONTENDS = (
    "the features: log-mels by musicnn or musicnn_torch, mel bands in dB by mel_db, or a front end of your own as "
    "package.module:Class; or one row a track: the statistics chroma or mfcc, or the predictions of librosa_tempo, "
    "librosa_tempo_regression, key_krumhansl or key_temperley"
)

USUAL_RATE = 16_000  # Hz of the audio that most networks read
SYSTEMS = {"clmr": SAMPLE_RATE}  # Hz of the audio that a system takes, by the word that stands for --audio RATE

EPILOG_WIDTH = 110
EPILOG = """\
A published corpus, with its splits and annotations:
  {corpora}
  python -m preprocess CORPUS DATA_DIR STORE_DIR        (--help behind its name tells more)
Audio for contrastive pre-training, at 22,050 Hz, of any folder or of a published corpus:
  python -m preprocess clmr AUDIO_DIR STORE_DIR
  python -m preprocess clmr CORPUS DATA_DIR STORE_DIR
Features of other encoders (--help behind the first word tells more):
  python -m preprocess import FOLDER_OR_TABLE STORE_DIR
  python -m preprocess huggingface MODEL_DIR AUDIO_DIR STORE_DIR
On a Dask cluster whose machines have this project and see both folders under the same paths (docs/many_machines.md):
  python -m preprocess AUDIO_DIR STORE_DIR --scheduler tcp://HOST:8786"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for an error, 130 when interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    from datasets.corpora import CORPORA
    from preprocess.foreign_command import COMMANDS

    if argv and argv[0] in COMMANDS:
        return _say(lambda: COMMANDS[argv[0]](argv[1:]))
    system = argv[0] if argv and argv[0] in SYSTEMS else None
    argv = argv[1:] if system else argv
    corpus = CORPORA.get(argv[0]) if argv else None
    rate = SYSTEMS[system] if system else None
    parser = _corpus_parser(corpus, rate) if corpus else _parser(rate)
    parser.set_defaults(system=system)
    arguments = parser.parse_args(argv[1:] if corpus else argv)
    options = {
        "jobs": arguments.jobs,
        "progress": not arguments.quiet,
        "max_seconds": arguments.max_seconds,
        "retry": arguments.retry,
    }

    def work() -> list[str]:
        with _backend(arguments.backend, arguments.scheduler) as cluster:
            given = {**options, "frontend": _recipe(arguments), "cluster": cluster}
            return list(_corpus(corpus, arguments, given) if corpus else _folder(arguments, given))

    return _say(work)


def _recipe(arguments: argparse.Namespace) -> str:
    """Name of what is stored.

    Raises:
        ValueError: A sample rate that is none of audio, or none where samples are to be exact.
    """
    if arguments.audio is None:
        if arguments.exact:
            raise ValueError("--exact is about samples: give it with --audio RATE")
        return arguments.frontend
    from preprocess.audio import audio_name

    return audio_name(arguments.audio, "float32" if arguments.exact else "int16")


def _say(work: Callable[[], Iterable[str]]) -> int:
    """Print the lines that say what was done, or the error; returns the exit status."""
    try:
        lines = list(work())
    except ValueError as error:
        print(f"error: {printable_lines(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # of a place that cannot be used, or a full disk
        where = printable_lines(error.filename or "input or output")
        print(f"error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what is done is kept; run the same command again to continue", file=sys.stderr)
        return 130
    print(printable_lines("\n".join(lines)))
    return 0


def _folder(arguments: argparse.Namespace, options: dict[str, Any]) -> Iterator[str]:
    from preprocess.build import build_store

    if arguments.renew:
        from preprocess.renewal import drop_outdated

        drop_outdated(arguments.audio_dir, arguments.store_dir, options["frontend"])
    return summary(build_store(arguments.audio_dir, arguments.store_dir, **options), arguments.system)


def _corpus(definition: Definition, arguments: argparse.Namespace, options: dict[str, Any]) -> Iterator[str]:
    from preprocess import protocols, published

    done = published.prepare(
        definition,
        arguments.data_dir,
        arguments.store_dir,
        protocols=arguments.protocol,
        only=arguments.only,
        metadata=arguments.metadata,
        max_missing=arguments.max_missing,
        fetch=arguments.download,
        **options,
    )
    return protocols.summary(done)


def summary(report: BuildReport, system: str | None = None) -> Iterator[str]:
    """Lines that say what is in the store now, what is not and why, and what to do next, with a system of `SYSTEMS`."""
    from datasets.text import pluralize
    from preprocess.build_report import changed_line, common_reasons

    hours = f"{report.seconds / 3600:.2f} hours of audio"
    written = f"{report.store}: {report.written} tracks written ({hours}), {report.already} already there"
    yield f"{written}, {len(report.skipped)} skipped"
    for reason, count in common_reasons(report):
        example = next(id for id, why in report.skipped if why.split(":")[0] == reason)
        yield f"  {count:6d} {reason}, for instance {printable(example)}"
    if report.skipped:
        yield f"  listed in {report.store / 'skipped.csv'}; they are tried again when they change, or with --retry"
    if report.noted:
        kinds = Counter(note.partition(":")[0] for _, note in report.noted).most_common(3)
        why = ", ".join(f"{count} {kind}" for kind, count in kinds)
        counted = pluralize(len(report.noted), "track has a note", "tracks have a note")
        yield f"  {counted} ({why}): {report.store / 'notes.csv'}"
    if report.changed:
        yield f"  {changed_line(report, 'another STORE_DIR')}"
    if report.ignored:
        yield "not audio: " + ", ".join(f"{count} {suffix}" for suffix, count in report.ignored.most_common(5))
    if report.passed_over:
        yield f"system folders that were not searched: {', '.join(report.passed_over)}"
    yield f"next: {_next(report.store, system)}"


def _next(store: Path, system: str | None) -> str:
    """What the store is for."""
    from datasets.store import Store

    header = Store(store).header
    if system:
        few = "trainer.max_epochs=1000 (as published, it is 10,000 epochs)"
        return f"python ex_pretrain.py with {system}_pretrain datamodule.base_dir={store} {few}"
    if header.kind == "audio" and (rate := (header.producer or {}).get("sample_rate")) != USUAL_RATE:
        return f"python ex_transfer.py with NETWORK datamodule.base_dir={store}, a network of audio at {rate:,} Hz"
    if header.kind == "audio":
        return f"python ex_transfer.py with fcn datamodule.base_dir={store} datamodule.groundtruth=TRACKS.csv"
    if header.kind == "mel":
        return f"python ex_pretrain.py describe with datamodule.base_dir={store} datamodule.groundtruth=TRACKS.csv"
    if header.kind == "embeddings":
        return f"python ex_probe.py with embeddings.store={store} datamodule.base_dir=AUDIO_DIR"
    name, task = header.producer["encoder"], header.producer["task"]
    beside = f"embeddings.predictions.{name}={store}"
    return f"python ex_probe.py with probe.tasks=[{task}] embeddings.store=EMBEDDINGS {beside}, a row of its table"


def _parser(rate: int | None) -> argparse.ArgumentParser:
    from datasets.corpora import CORPORA

    listed = textwrap.fill(", ".join(CORPORA), EPILOG_WIDTH, initial_indent="  ", subsequent_indent="  ").lstrip()
    parser = argparse.ArgumentParser(
        "python -m preprocess", None, DESCRIPTION, EPILOG.format(corpora=listed), formatter_class=Formatter
    )
    parser.add_argument("audio_dir", metavar="AUDIO_DIR", help="folder of audio files, searched with its sub-folders")
    parser.add_argument("store_dir", metavar="STORE_DIR", help="folder of the store; made, or added to")
    parser.add_argument("--renew", action="store_true", help="start over if files were replaced or removed since")
    _add_options(parser, rate)
    return parser


def _corpus_parser(definition: Definition, rate: int | None) -> argparse.ArgumentParser:
    from datasets.corpora.copies import MOST_ABSENT

    protocols = "\n".join(f"  {name}: {about}" for name, about in definition.protocols.items())
    parser = argparse.ArgumentParser(
        f"python -m preprocess {definition.name}",
        None,
        CORPUS_DESCRIPTION.format(title=definition.title),
        f"audio: {definition.source} ({definition.terms})\nprotocols:\n{protocols}",
        formatter_class=Formatter,
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=Path, help="your copy of the corpus, folders of any names")
    parser.add_argument("store_dir", metavar="STORE_DIR", type=Path, help="folder of the store; made, or added to")
    parser.add_argument("--download", action="store_true", help="fetch and unpack what is missing")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="NAME", help="only this one; can be repeated"
    )
    parser.add_argument(
        "--max-missing", type=float, default=MOST_ABSENT, metavar="SHARE", help="of recordings without audio"
    )
    parser.add_argument("--only", type=Path, metavar="FILE", help="a list of ids, one a line; leave all others out")
    parser.set_defaults(metadata=None)
    if definition.metadata:
        parser.add_argument("--metadata", type=Path, metavar="DIR", help=f"from {definition.metadata_source}")
    _add_options(parser, rate)
    return parser


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown, line breaks are kept."""


def _add_options(parser: argparse.ArgumentParser, rate: int | None) -> None:
    """Add what every store takes; where a system says the sample rate, nothing else is stored than audio."""
    if rate is None:
        stored = parser.add_mutually_exclusive_group()
        stored.add_argument("--frontend", default="musicnn", metavar="NAME", help=FRONTENDS)
        stored.add_argument(
            "--audio", type=int, metavar="RATE", help="keep the audio at this sample rate in Hz instead"
        )
    else:
        parser.set_defaults(audio=rate)
    parser.add_argument("--exact", action="store_true", help="with --audio: 32-bit floats, in twice the bytes")
    parser.add_argument("--jobs", type=int, default=-1, metavar="N", help="workers; -1 is one a core")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="keep only the middle of longer tracks")
    parser.add_argument("--retry", action="store_true", help="try skipped files again")
    parser.add_argument("--backend", default="loky", help="joblib backend: loky (processes), threading, ...")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler whose workers compute")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


@contextmanager
def _backend(name: str, scheduler: str | None) -> Iterator[Cluster | None]:
    """The Dask cluster that the whole run uses; without one, the joblib backend.

    Raises:
        ValueError: An unknown backend, or a cluster that is not there or cannot do it.
    """
    if scheduler:
        from preprocess.cluster import connected

        with connected(scheduler, "--scheduler", "preprocess.worker") as cluster:
            yield cluster
        return
    if name == "dask":
        raise ValueError("--backend dask: give the address of its scheduler, as --scheduler tcp://HOST:8786")
    import joblib

    with joblib.parallel_config(backend=name):
        yield None


if __name__ == "__main__":
    sys.exit(main())
