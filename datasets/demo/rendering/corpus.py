"""A folder of MIDI files -> a corpus with truth: in parallel, resumable, the same bytes however many processes work."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from joblib import delayed

from datasets.demo.errors import DemoError
from datasets.demo.midi import midi_files
from datasets.demo.output import table, watched, write_text
from datasets.demo.render import RENDERER
from datasets.demo.rendering import clips, plan
from datasets.demo.rendering.plan import WRITTEN, Clip, Source
from datasets.demo.rendering.recipes import KINDS
from datasets.demo.synth import check_soundfont, soundfont_hash

VERSION = 1  # raise with every change of what a clip sounds like
TRACKS, SKIPPED, CORPUS = "tracks.csv", "skipped.csv", "corpus.json"  # of the output folder
RATES = (22050, 44100)
FILES_A_PROCESS = 8
READ_A_PROCESS = 400
BYTES_A_SAMPLE = 1.1  # of FLAC, about
LEFTOVER = re.compile(r"\..+\.(flac|beats|csv|json)\.[0-9]+(-[0-9]+)?\.tmp")  # of a file that was being written
SPLITS = {"train": 0.9, "valid": 0.05, "test": 0.05}


@dataclass(frozen=True)
class Settings:
    """What makes a corpus what it is.

    Attributes:
        seed: The same seed gives the same bytes.
        kinds: Shares of the clips by kind; `{"written": 1}` renders whole files as they are.
        seconds: Shortest and longest clip of other kinds.
        rate: Samples a second.
        splits: Shares of the pieces by split.
        keep_splits: Whether pieces stay in the split that a table beside them says.
        soundfonts: Files; by default the one that `pretty_midi` ships.
    """

    seed: int = 0
    kinds: Mapping[str, float] = field(default_factory=lambda: {WRITTEN: 1.0})
    seconds: tuple[float, float] = (30.0, 60.0)
    rate: int = 22050
    splits: Mapping[str, float] = field(default_factory=lambda: dict(SPLITS))
    keep_splits: bool = False
    soundfonts: tuple[Path, ...] = ()


@dataclass
class Rendering:
    """What came of a folder of MIDI files.

    Attributes:
        written: The audio files of the corpus.
        kept: How many of them a former call had written.
        skipped: MIDI files that were not rendered, with the reason.
        facts: What `corpus.json` says.
    """

    written: list[Path] = field(default_factory=list)
    kept: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def render_folder(
    midi_dir: Path | str,
    output_dir: Path | str,
    settings: Settings | None = None,
    *,
    variants: float = 1,
    limit: int | None = None,
    hours: float | None = None,
    jobs: int = -1,
    progress: bool = True,
) -> Rendering:
    """Render MIDI files, with the truth of each. A second call finishes what was left, or adds to it.

    Files that cannot be rendered are skipped and listed with the reason, also in `skipped.csv`.

    Args:
        output_dir: Gets `NAME.flac` and `NAME.beats` below it as the MIDI files stand below theirs, `tracks.csv` and
            `corpus.json`.
        variants: Clips a piece, on the average.
        limit: Most clips; replaces `variants`.
        hours: Of audio, about; likewise.

    Raises:
        DemoError: No such folder, nothing in it that can be rendered, settings that cannot be used, or a corpus made
            with others, or files of somebody else, in the output folder.
    """
    settings = settings or Settings()
    root, target = Path(midi_dir), Path(output_dir)
    fonts = tuple(check_soundfont(path) for path in settings.soundfonts or (None,))
    made_of = _made_of(settings, fonts)
    files = midi_files(root)
    before = _before(target, made_of)
    report = Rendering()
    sources = _sources(files, root, jobs, progress, report)
    split = plan.splits(sources, settings.splits, settings.seed, settings.keep_splits)
    chosen = _chosen(sources, settings, variants, limit, hours)
    names = _names(chosen, files, root)
    if not before:
        _refuse_foreign(target, names)
    write_text(target / CORPUS, json.dumps({**before, **made_of}, indent=2) + "\n")
    if progress and chosen:
        seconds = sum(clip.seconds for clip in chosen)
        size = seconds * settings.rate * BYTES_A_SAMPLE / 1e6
        print(f"{len(chosen)} clips, {seconds / 3600:.2f} h of audio, about {size:.0f} MB", file=sys.stderr)
    work = (
        delayed(clips.make)(clip, name, root, target, settings.seed, settings.rate, fonts)
        for clip, name in zip(chosen, names, strict=True)
    )
    rows = []
    for clip, row, reason, kept in watched(work, len(chosen), jobs, FILES_A_PROCESS, progress, "Rendering MIDI files"):
        if reason:
            report.skipped.append((root / clip.source.name, reason))
        else:
            report.written.append(target / row["path"])
            report.kept += kept
            rows.append({**row, "split": split[clip.source.name]})
    report.written.sort()
    report.skipped.sort()
    report.facts = {**made_of, **_counted(rows, target)}
    _write_tables(target, root, rows, report)
    return report


def _sources(files: Sequence[Path], root: Path, jobs: int, progress: bool, report: Rendering) -> list[Source]:
    """What can be rendered, in order; the rest is entered in the report."""
    sources = []
    scan = (delayed(clips.source)(path, root) for path in files)
    for source, reason in watched(scan, len(files), jobs, READ_A_PROCESS, progress, "Reading MIDI files"):
        if reason:
            report.skipped.append((root / source.name, reason))
        else:
            sources.append(source)
    return sorted(sources)


def _counted(rows: Sequence[Mapping[str, str]], target: Path) -> dict:
    """What `corpus.json` says of how much there is."""
    return {
        "clips": len(rows),
        "pieces": len({row["group"] for row in rows}),
        "megabytes": round(sum((target / row["path"]).stat().st_size for row in rows) / 1e6, 1),
        "clips_by_kind": dict(sorted(Counter(row["kind"] for row in rows).items())),
        "clips_by_split": dict(sorted(Counter(row["split"] for row in rows).items())),
    }


def _write_tables(target: Path, root: Path, rows: Sequence[Mapping[str, str]], report: Rendering) -> None:
    write_text(target / TRACKS, table(clips.COLUMNS, sorted(rows, key=lambda row: row["path"])))
    skipped = ({"path": path.relative_to(root).as_posix(), "reason": reason} for path, reason in report.skipped)
    write_text(target / SKIPPED, table(("path", "reason"), skipped))
    write_text(target / CORPUS, json.dumps(report.facts, indent=2) + "\n")


def _chosen(
    sources: Sequence[Source], settings: Settings, variants: float, limit: int | None, hours: float | None
) -> list[Clip]:
    """The clips that make up the corpus."""
    count = limit if limit is not None else None if hours is not None else max(1, round(variants * len(sources)))
    handed = plan.clips(sources, settings.kinds, settings.seconds, settings.seed)
    return plan.enough(handed, count, None if hours is None else 3600 * hours)


def _names(chosen: Sequence[Clip], files: Sequence[Path], root: Path) -> list[str]:
    """A name for each clip: its file's, with the suffix where two differ in it alone; then its kind and variant."""
    stems = Counter(path.relative_to(root).with_suffix("").as_posix() for path in files)
    names = []
    for clip in chosen:
        path = PurePosixPath(clip.source.name)
        stem = path.with_suffix("").as_posix()
        stem = stem if stems[stem] == 1 else path.as_posix()
        names.append(stem if clip.kind == WRITTEN and not clip.variant else f"{stem}.{clip.kind}{clip.variant}")
    return names


def _made_of(settings: Settings, fonts: tuple[Path, ...]) -> dict:
    """What `corpus.json` says of how a corpus is made.

    Raises:
        DemoError: A setting that cannot be used.
    """
    for name in settings.kinds:
        if name not in KINDS:
            raise DemoError(f"kind {name!r}: expected one of {', '.join(KINDS)}")
    if not sum(settings.kinds.values()) > 0 or not sum(settings.splits.values()) > 0:
        raise DemoError("kinds and splits: expected shares, one of them above 0")
    if settings.rate not in RATES:
        raise DemoError(f"rate {settings.rate} Hz: expected {' or '.join(map(str, RATES))}")
    if not 1 <= settings.seconds[0] <= settings.seconds[1] < float("inf"):
        raise DemoError(f"seconds {settings.seconds}: expected the shortest clip, from 1 s up, and the longest")
    facts = {
        **{name: value for name, value in asdict(settings).items() if name != "soundfonts"},
        "version": f"{VERSION}.{RENDERER}",
        "soundfonts": {font.name: soundfont_hash(font) for font in fonts},
    }
    return json.loads(json.dumps(facts))


def _before(target: Path, made_of: Mapping) -> dict:
    """Make the folder of a corpus, or find one that is made of the same: what its `corpus.json` says.

    Raises:
        DemoError: It was made with other settings, or by something else.
    """
    target.mkdir(parents=True, exist_ok=True)
    file = target / CORPUS
    if not file.exists():
        return {}
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DemoError(f"{file}: cannot be read; delete it to render anew, or give another folder") from error
    if not made_of.keys() <= before.keys():
        raise DemoError(_foreign(file))
    for name, value in made_of.items():
        if before[name] != value:
            raise DemoError(
                f"{target}: was made with {name}={before[name]!r}, and now it is {value!r}; give another folder"
            )
    for leftover in target.rglob(".*.tmp"):
        if LEFTOVER.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)
    return before


def _refuse_foreign(target: Path, names: Sequence[str]) -> None:
    """Refuse a folder that holds no corpus, and files under the names of one.

    Args:
        target: The folder.
        names: Of the clips, without suffix.

    Raises:
        DemoError: One of the files is there.
    """
    clips_of = (f"{name}{suffix}" for name in names for suffix in (".flac", ".beats"))
    for name in (TRACKS, SKIPPED, *clips_of):
        if (target / name).exists():
            raise DemoError(_foreign(target / name))


def _foreign(file: Path) -> str:
    return f"{file}: is there already and was not written by this command; move it away, or give another folder"
