"""The report command: the leaderboard of all sweeps, whether its differences are chance, tables and pictures of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from datasets.progress import progress
from datasets.text import pluralize, printable_lines
from experiments.errors import UserError
from experiments.leaderboard import comparison, pictures, ranking, tables
from experiments.leaderboard.comparison import Comparison
from experiments.leaderboard.ranking import Board, Standings, Sweep, Test
from experiments.leaderboard.sources import DatabaseSource, DiskSource, RunSource, Wanted, moment
from experiments.messages import say
from experiments.settings import ProbeExperimentSettings, ReportSettings
from experiments.tracking import RunHandle, TrackingSettings
from experiments.tracking.home import pending_directory
from experiments.tracking.location import Location, located


def report(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Compare the encoders of all sweeps, print the leaderboard and keep tables and pictures of it.

    Returns:
        `task/corpus/encoder/metric` of the best of every encoder.

    Raises:
        UserError: There are no sweeps, none as wanted, or they cannot be read.
    """
    wanted, began = settings.report, time.monotonic()
    with opened(wanted.source, settings.tracking, run.location) as source:
        board = collect(wanted, source, run)
        standings = {test: ranking.standings(encoders) for test, encoders in board.items()}
        print(printable_lines(f"\n{tables.text(standings)}\n\n{tables.legend(standings)}"), flush=True)
        with ThreadPoolExecutor(1) as beside:  # arithmetic that leaves Python free to draw
            comparing = beside.submit(_compared, standings, source, wanted.resamples, run.seed)
            drawn = pictures.draw(board, standings, run.directory)
            comparisons = comparing.result()
        place = source.place
    notes = tables.kept_apart(list(board))
    for line in notes:
        print(printable_lines(line))
    for heading, lines in tables.summaries(standings, comparisons):
        print(printable_lines("\n".join([f"\n{heading}", *(f"  {line}" for line in lines)])), flush=True)
    _keep(board, standings, comparisons, notes, drawn, run)
    entries = [entry for encoders in board.values() for of_one in encoders.values() for entry in of_one]
    run.set_info(report={"source": place, "sweeps": len({e.sweep.key for e in entries}), "scores": len(entries)})
    say(
        f"Report of {pluralize(len(entries), 'score')} from {place} in {time.monotonic() - began:.1f} s: "
        f"leaderboard.html, .md, .csv and pictures in {_short(run.directory)}; "
        "see them with: python ex_probe.py dashboard"
    )
    return _result(standings)


@contextmanager
def opened(source: str, tracking: TrackingSettings, location: Location | None) -> Iterator[RunSource]:
    """Where the sweeps are, open as long as the block runs.

    Args:
        source: `report.source`.
        tracking: Where the runs are.
        location: Of this run's database; None: that of the settings.

    Raises:
        UserError: A database is asked for, and there is none.
    """
    disk = DiskSource(Path(tracking.runs_dir))
    if source == "disk":
        yield disk
        return
    with located(tracking) if location is None else nullcontext(location) as place:
        if place.url is None:
            if source == "database":
                raise UserError(f"report.source=database: {place.line}")
            yield disk
            return
        database = place.connect()
        try:
            yield DatabaseSource(database, place.masked_url if place.kind == "given" else "the embedded database")
        finally:
            database.client.close()


def collect(filters: ReportSettings, source: RunSource, run: RunHandle) -> Board:
    """The entries that are asked for, by test and encoder.

    Raises:
        UserError: There are none.
    """
    wanted = Wanted(moment(filters.since), [str(one) for one in filters.runs], filters.group)
    sweeps = source.sweeps(wanted)
    if not any(sweep.scores for sweep in sweeps):
        raise UserError(_nothing(wanted, source, run))
    if missing := [name for name in wanted.runs if not any(name in (one.key, one.name) for one in sweeps)]:
        known = _names(source.sweeps(Wanted()))
        raise UserError(f"report.runs: {missing[0]} is no run with scores in {source.place}; there is {known}")
    entries = ranking.named(sweeps)
    if lost := sum(len(sweep.scores) for sweep in sweeps) - len(entries):
        say(f"{pluralize(lost, 'score is', 'scores are')} not finite and left out: their probes failed")
    entries = ranking.filtered(entries, filters.tasks, filters.corpora, filters.encoders)
    kept = ranking.latest(entries) if filters.repeats == "latest" else ranking.apart(entries)
    if not kept:
        raise UserError(
            f"no score is of these tasks, corpora and encoders together; leave one of report.tasks={filters.tasks}, "
            f"report.corpora={filters.corpora}, report.encoders={filters.encoders} out"
        )
    if len(kept) < len(entries):
        say(f"{pluralize(len(entries) - len(kept), 'score')} of earlier runs left out; report.repeats=all shows all")
    return ranking.board(kept)


def _nothing(wanted: Wanted, source: RunSource, run: RunHandle) -> str:
    waiting = _waiting(run.key) if isinstance(source, DatabaseSource) else 0
    hint = (
        f" {pluralize(waiting, 'run')} of this machine not fully sent yet: python ex_probe.py sync" if waiting else ""
    )
    if wanted:
        names = {"report.since": wanted.since, "report.runs": wanted.runs, "report.group": wanted.group}
        given = ", ".join(name for name, value in names.items() if value)
        return f"no sweep in {source.place} matches {given}; there is {_names(source.sweeps(Wanted()))}.{hint}"
    return (
        f"no sweep has left scores in {source.place}. Make one with: "
        f"python ex_probe.py with embeddings.store=STORE (or with demo, after make demo), then repeat this.{hint}"
    )


def _waiting(key: str) -> int:
    """How many other runs of this machine are not yet whole in the database."""
    return sum(key not in pointer.name for pointer in pending_directory().glob("*") if pointer.is_file())


def _names(sweeps: Sequence[Sweep], most: int = 8) -> str:
    listed = [sweep.name for sweep in sweeps if sweep.scores]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[-most:]) + more if listed else "none"


def _compared(standings: Standings, source: RunSource, resamples: int, seed: int) -> dict[Test, Comparison]:
    several = {test: encoders for test, encoders in standings.items() if len(encoders) > 1}
    found = {}
    with progress("paired intervals", len(several), "tests") as advance:
        for test, encoders in several.items():
            found[test] = comparison.compare(test, encoders, source, resamples, seed)
            advance()
    return found


def _keep(
    board: Board,
    standings: Standings,
    comparisons: Mapping[Test, Comparison],
    notes: Sequence[str],
    pictures: Sequence[Path],
    run: RunHandle,
) -> None:
    """Attach the tables and the pictures to the run."""
    folder = run.directory
    files = [tables.write_csv(board, standings, folder / "leaderboard.csv")]
    if comparisons:
        files.append(tables.write_comparisons(comparisons, folder / "comparisons.csv"))
    texts = {
        "leaderboard.md": tables.markdown(standings, comparisons, notes),
        "leaderboard.html": tables.page(standings, comparisons, notes, pictures),
    }
    for name, content in texts.items():
        (folder / name).write_text(content, encoding="utf-8")
        files.append(folder / name)
    for path in (*files, *pictures):
        run.add_artifact(path)


def _result(standings: Standings) -> dict[str, float]:
    heads = tables.headings(list(standings))
    return {
        f"{heads[test][0].replace(', ', '/')}/{name}/{test.metric}": float(standing.entry.score.score)
        for test, encoders in standings.items()
        for name, standing in encoders.items()
    }


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
