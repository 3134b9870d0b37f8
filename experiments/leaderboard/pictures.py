"""The pictures of a leaderboard: scores over blocks and tokens, and the encoders beside each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np

from experiments.leaderboard.ranking import Board, Entry, Standing, Standings, units
from experiments.leaderboard.tables import headings
from experiments.probes.records import SUM
from experiments.reports import COLOUR_MAP, COLOURS, MARKERS, comparison_bars, picture, short_names

MOST_ENCODERS = 6  # panels or lines of a picture
MOST_BARS = 30
MOST_NUMBERS = 260  # cells of a heat map that all have their number; of more the best of each block
TOKENS = ("cls", "dist", "mean", "cls+dist", "all")  # from the top


def draw(board: Board, standings: Standings, folder: Path) -> list[Path]:
    """Draw every test: its encoders as bars, and, where blocks or tokens were compared, a heat map and curves."""
    heads, drawn = headings(list(board)), []
    for test, encoders in board.items():
        best = standings[test]
        name, title = file_name(heads[test][0]), ", ".join(heads[test])
        probed = {key: encoders[key] for key in best if len({entry.view for entry in encoders[key]}) > 1}
        shown = dict(list(probed.items())[:MOST_ENCODERS])
        if len(shown) < len(probed):
            title = f"{title}, {len(shown)} best of {len(probed)} encoders"
        if shown:
            drawn.append(heat_map(shown, best, folder / f"heatmap_{name}.png", title))
        if any(len({entry.score.block for entry in entries}) > 1 for entries in shown.values()):
            drawn.append(block_curves(shown, best, folder / f"blocks_{name}.png", title, test.metric))
        entries = {key: standing.entry for key, standing in list(best.items())[:MOST_BARS]}
        bars = {key: (entry.score.score, *entry.ends) for key, entry in entries.items()}
        path, head = folder / f"leaderboard_{name}.png", ", ".join(heads[test])
        drawn.append(comparison_bars(bars, test.metric, path, head, _over(list(entries.values()))))
    return drawn


def file_name(text: str) -> str:
    """A heading as the part of a file's name."""
    return re.sub(r"[^\w+-]+", "_", text).strip("_")


def heat_map(encoders: Mapping[str, Sequence[Entry]], best: Mapping[str, Standing], path: Path, title: str) -> Path:
    """Draw scores by block (column) and tokens (row), a panel an encoder, all in one scale; the chosen one is framed.

    Args:
        encoders: Their entries; one cell each.
        best: Their chosen entries.
        path: Of the PNG file.
        title: Above it.
    """
    from matplotlib.patches import Rectangle

    tables = {name: _table(entries) for name, entries in encoders.items()}
    values = np.concatenate([100 * table.ravel() for _, _, table in tables.values()])
    low, high = np.nanmin(values), np.nanmax(values)
    width = max(len(columns) for columns, _, _ in tables.values())
    numbered = len(values) <= MOST_NUMBERS
    height = sum(1.0 + (0.5 if numbered else 0.36) * len(rows) for _, rows, _ in tables.values())
    with picture(path, float(np.clip(4.2 + 0.75 * width, 7, 18)), 0.8 + height, len(tables)) as axes:
        for axis, (name, (columns, rows, table)) in zip(axes, tables.items(), strict=True):
            image = axis.imshow(100 * table, cmap=COLOUR_MAP, vmin=low, vmax=high, aspect="auto")
            last = name == list(tables)[-1] or columns != list(tables.values())[-1][0]
            axis.set_xticks(range(len(columns)) if last else [], [str(column) for column in columns] if last else [])
            axis.set_yticks(range(len(rows)), rows)
            chosen = columns.index(best[name].entry.score.block), rows.index(_row(best[name].entry))
            for row, column in np.argwhere(np.isfinite(table)):
                if not numbered and table[row, column] < np.nanmax(table[:, column]) and (column, row) != chosen:
                    continue
                value = 100 * table[row, column]
                colour = "black" if value > (low + high) / 2 else "white"
                number = axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=11)
                number.set_in_layout(False)  # it lies inside; measuring every one takes most of the time
            corner = chosen[0] - 0.5, chosen[1] - 0.5
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=4, clip_on=False))
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)
            axis.set_title(name, fontsize=13)
        axes[-1].set_xlabel(_layers({column for columns, _, _ in tables.values() for column in columns}))
        axes[0].figure.suptitle(title, x=0.01, ha="left", fontsize=14)
        axes[0].figure.colorbar(image, ax=axes, label="per cent", fraction=0.04)
    return path


def _table(entries: Sequence[Entry]) -> tuple[list[int | str], list[str], np.ndarray]:
    columns = list(dict.fromkeys(entry.score.block for entry in entries))
    rows = list(dict.fromkeys(_row(entry) for entry in sorted(entries, key=_order)))
    table = np.full((len(rows), len(columns)), np.nan)
    for entry in entries:
        table[rows.index(_row(entry)), columns.index(entry.score.block)] = entry.score.score
    return columns, rows, table


def _order(entry: Entry) -> tuple[int, str, str]:
    tokens = entry.score.tokens
    return TOKENS.index(tokens) if tokens in TOKENS else len(TOKENS), tokens, entry.score.pooling


def _row(entry: Entry) -> str:
    words = (entry.score.tokens, "" if entry.score.pooling == "mean" else entry.score.pooling)
    return ", ".join(word for word in words if word) or "-"


def block_curves(
    encoders: Mapping[str, Sequence[Entry]], best: Mapping[str, Standing], path: Path, title: str, metric: str
) -> Path:
    """Draw scores over blocks, a line an encoder with the tokens of its chosen entry, which has a star.

    Args:
        encoders: Their entries.
        best: Their chosen entries.
        path: Of the PNG file.
        title: Above it.
        metric: What the scores are.
    """
    blocks = {entry.score.block for entries in encoders.values() for entry in entries if entry.score.block != ""}
    places = sorted(blocks, key=lambda block: (block == SUM, block if isinstance(block, int) else 0, str(block)))
    with picture(path, 10, 5.4) as (axis,):
        named = zip(encoders.items(), short_names(list(encoders)), strict=True)
        for number, ((name, entries), called) in enumerate(named):
            chosen = best[name].entry
            line = [entry for entry in entries if _row(entry) == _row(chosen) and entry.score.block != ""]
            if not line:
                continue
            at = np.array([places.index(entry.score.block) for entry in line])
            values = 100 * np.array([entry.score.score for entry in line])
            ends = 100 * np.array([entry.ends for entry in line])
            colour = COLOURS[number % len(COLOURS)]
            numbered = np.array([entry.score.block != SUM for entry in line])
            label = called + ("" if _row(chosen) == "-" else f" ({_row(chosen)})")
            axis.plot(at[numbered], values[numbered], color=colour, label=label)
            offset = 0.06 * (number - (len(encoders) - 1) / 2)
            axis.errorbar(
                at + offset,
                values,
                np.maximum(0, (values - ends[:, 0], ends[:, 1] - values)),
                fmt=MARKERS[number % len(MARKERS)],
                color=colour,
                elinewidth=1.5,
            )
            if chosen.score.block in places:
                star = places.index(chosen.score.block) + offset, 100 * chosen.score.score
                axis.plot(*star, marker="*", markersize=20, color=colour, markeredgecolor="black", linestyle="none")
        axis.set_xticks(range(len(places)), [str(place) for place in places])
        axis.set_xlabel(_layers(blocks))
        shown = [entry for entries in encoders.values() for entry in entries]
        axis.set_ylabel(f"{metric}, per cent, 95 % interval\nover {_over(shown)}")
        axis.set_title(title)
        axis.figure.legend(loc="outside lower center", ncols=2)
    return path


def _layers(blocks: Set[int | str]) -> str:
    """What a network's layers are called: blocks where they have numbers."""
    return "layer" if any(isinstance(block, str) for block in blocks - {"", SUM}) else "block"


def _over(entries: Sequence[Entry]) -> str:
    """What the intervals of entries are over."""
    return units(entries) + (" and seeds" if any(len(entry.score.seeds) > 1 for entry in entries) else "")
