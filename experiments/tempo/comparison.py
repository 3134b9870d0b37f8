"""Several systems on the same songs: all metrics with intervals, and how far the first is ahead of each other one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from datasets.csv_writing import write_table
from datasets.intervals import Difference, SystemScores, central, differences
from datasets.text import aligned
from experiments.tasks.tempo_metrics import octave_shares, p_scores, per_item, with_one_reference
from models.files import replaced
from models.metrics import resampled_means

RESAMPLES = 1000
SHARES = {"accuracy1": "Accuracy1", "accuracy2": "Accuracy2", "accuracy0": "Accuracy0", "accuracy_8_percent": "8 %"}
OTHERS = {"p_score": "P-score", "oe1": "OE1", "oe1_abs": "|OE1|", "oe2_abs": "|OE2|"}


@dataclass(frozen=True)
class System:
    """What one system says of the songs.

    Attributes:
        name: For tables and pictures.
        tempi: BPM, `[songs]`.
        second: Its second tempi, `[songs]`; None: it gives one alone.
        key: For the result of a run, the same in every run.
    """

    name: str
    tempi: np.ndarray
    second: np.ndarray | None = None
    key: str = ""

    def chosen(self, rows: np.ndarray) -> System:
        """What it says of the songs of a mask."""
        return replace(self, tempi=self.tempi[rows], second=None if self.second is None else self.second[rows])


@dataclass(frozen=True)
class Songs:
    """What the systems are compared with.

    Attributes:
        ids: Of the songs.
        tempi: BPM, `[songs]`.
        genres: One a song; empty where none are known.
        second: Second annotated tempi, `[songs]`, 0 where there is none; None: nobody annotated two.
        weights: Of the first tempo where two are annotated, 0..1, `[songs]`.
    """

    ids: Sequence[str]
    tempi: np.ndarray
    genres: Sequence[str] = ()
    second: np.ndarray | None = None
    weights: np.ndarray | None = None

    def chosen(self, rows: np.ndarray) -> Songs:
        """Those of a mask or of row numbers."""
        numbers = np.arange(len(self.ids))[rows]
        return Songs(
            [self.ids[number] for number in numbers],
            self.tempi[rows],
            [self.genres[number] for number in numbers] if self.genres else (),
            None if self.second is None else self.second[rows],
            None if self.weights is None else self.weights[rows],
        )

    @property
    def two(self) -> tuple[np.ndarray, np.ndarray]:
        """References and weights of the P-score, `[songs, 2]` and `[songs]`."""
        if self.second is None or self.weights is None:
            return with_one_reference(self.tempi)
        alone = self.second == 0
        return np.stack([self.tempi, self.second], axis=1), np.where(alone, 1.0, self.weights)


@dataclass(frozen=True)
class SystemRow:
    """The metrics of a system.

    Attributes:
        name: Of the system.
        scores: Metric -> value, ends of its 95 % interval over songs.
        shares: Share of the estimates near each factor of the reference.
        behind: How far the first system is ahead in Accuracy1 and Accuracy2; none of the first itself.
    """

    name: str
    scores: Mapping[str, tuple[float, float, float]]
    shares: Mapping[str, float]
    behind: Mapping[str, Difference] = field(default_factory=dict)


def compare(systems: Sequence[System], songs: Songs, resamples: int = RESAMPLES, seed: int = 0) -> list[SystemRow]:
    """Score every system; all see the same resamples of the songs.

    Args:
        systems: One or more, the one that is asked about first.
        songs: One or more.
        resamples: Of the songs.
        seed: Of the resampling.
    """
    n = len(songs.ids)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    items = [_items(system, songs) for system in systems]
    drawn = [resampled_means(one, weights) for one in items]
    rows = []
    for number, system in enumerate(systems):
        values = {name: float(points.mean()) for name, points in items[number].items()}
        scores = {name: (value, *central(name, drawn[number][name], n)) for name, value in values.items()}
        shares = octave_shares(system.tempi, songs.tempi)
        ahead = {}
        for metric in ("accuracy1", "accuracy2") if number else ():
            pair = {
                str(place): SystemScores([float(items[place][metric].mean())], drawn[place][metric])
                for place in (0, number)
            }
            ahead[metric] = differences(pair, n, metric)["0", str(number)]
        rows.append(SystemRow(system.name, scores, shares, ahead))
    return rows


def _items(system: System, songs: Songs) -> dict[str, np.ndarray]:
    found = per_item(system.tempi, songs.tempi)
    second = np.zeros_like(system.tempi) if system.second is None else system.second
    return {**found, "p_score": p_scores(np.stack([system.tempi, second], axis=1), *songs.two)}


def text(rows: Sequence[SystemRow]) -> str:
    """A line a system: accuracies in per cent with intervals, octave errors, lead of the first in Accuracy1."""
    first = rows[0].name
    lines = [("", *SHARES.values(), *OTHERS.values(), f"{first} ahead by" if len(rows) > 1 else "")]
    for row in rows:
        shares = ("{:.1f} ({:.1f}-{:.1f})".format(*(100 * value for value in row.scores[name])) for name in SHARES)
        others = (f"{row.scores[name][0]:.3f}" for name in OTHERS)
        lines.append((row.name, *shares, *others, _ahead(row.behind.get("accuracy1"))))
    return aligned(lines)


def _ahead(difference: Difference | None) -> str:
    if difference is None:
        return ""
    values = f"{100 * difference.ahead:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    return values if difference.more_than_chance else f"{values} may be chance"


def write(rows: Sequence[SystemRow], systems: Sequence[System], songs: Songs, folder: Path) -> list[Path]:
    """Leave `tempo_comparison.csv` and `.json`, and `tempo_songs.csv`, a row a song with what every system says.

    Returns:
        The files.
    """
    table, document, each = (
        folder / name for name in ("tempo_comparison.csv", "tempo_comparison.json", "tempo_songs.csv")
    )
    metrics = list(rows[0].scores)
    ends = [f"{name}{end}" for name in metrics for end in ("", "_low", "_high")]
    shares = list(rows[0].shares)
    write_table(
        table,
        ["system", *ends, *(f"share_{name}" for name in shares)],
        ([row.name, *(v for name in metrics for v in row.scores[name]), *row.shares.values()] for row in rows),
    )
    content = {
        "songs": len(songs.ids),
        "systems": {
            row.name: {
                "scores": {name: list(values) for name, values in row.scores.items()},
                "octave_shares": dict(row.shares),
                "first_ahead_by": {name: [one.ahead, one.low, one.high] for name, one in row.behind.items()},
            }
            for row in rows
        },
    }
    with replaced(document) as aside:
        aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    columns = [(system.name, system.tempi) for system in systems]
    columns += [(f"{system.name}, second", system.second) for system in systems if system.second is not None]
    write_table(
        each,
        ["track", "genre", "annotated", *(name for name, _ in columns)],
        (
            [identity, songs.genres[number] if songs.genres else "", f"{songs.tempi[number]:.2f}"]
            + [f"{values[number]:.2f}" for _, values in columns]
            for number, identity in enumerate(songs.ids)
        ),
    )
    return [table, document, each]
