"""A leaderboard as text for the terminal, as CSV with every row, as Markdown and as a page with its pictures."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.csv_writing import RecordWriter, TableWriter
from experiments.leaderboard.comparison import Comparison, summary
from experiments.leaderboard.ranking import Board, Entry, Standings, Test, describe, ranked, units
from experiments.reports import with_interval

WIDTH = 118  # characters of a line on the terminal
IN_BOLD = "the highest in bold"
COLUMNS = (
    "task", "corpus", "metric", "n", "split", "classes", "encoder", "kind", "block", "tokens", "pooling", "score",
    "low", "high", "valid", "seeds", "spread_over_seeds", "chosen", "aggregation", "run", "started", "network",
    "config", "metrics",
)  # fmt: skip


def headings(tests: Sequence[Test]) -> dict[Test, tuple[str, str]]:
    """Two lines for every test; tests of the same task and corpus, which must not be compared, are numbered."""
    found = {}
    for test in tests:
        alike = [other for other in tests if (other.task, other.corpus) == (test.task, test.corpus)]
        number = f" #{alike.index(test) + 1}" if len(alike) > 1 else ""
        found[test] = (f"{test.task}, {test.corpus}{number}", f"{test.metric}, n={test.n}")
    return found


def kept_apart(tests: Sequence[Test]) -> list[str]:
    """What keeps tests of the same task and corpus apart, a line each."""
    names, lines = headings(tests), []
    for task, corpus in dict.fromkeys((test.task, test.corpus) for test in tests):
        alike = [test for test in tests if (test.task, test.corpus) == (task, corpus)]
        if len(alike) > 1:
            differ = [key for key in ("metric", "split", "classes", "n") if len({getattr(t, key) for t in alike}) > 1]
            each = "; ".join(
                f"{names[test][0].rpartition(' ')[2]} " + ", ".join(f"{key} {getattr(test, key)}" for key in differ)
                for test in alike
            )
            lines.append(f"{task}, {corpus}: {len(alike)} tests that cannot be compared, in separate columns ({each})")
    return lines


def grid(standings: Standings) -> list[list[str]]:
    """The cells of the table: two header rows and a row an encoder.

    A cell has score, interval and what was probed; the best of a column has a star.
    """
    heads = headings(list(standings))
    rows = [["", *(heads[test][0] for test in standings)], ["encoder", *(heads[test][1] for test in standings)]]
    for name in ranked(standings):
        cells = []
        for encoders in standings.values():
            standing = encoders.get(name)
            best = "*" if name == next(iter(encoders)) and len(encoders) > 1 else ""
            cells.append(_cell(standing.entry) + best if standing else "")
        rows.append([name, *cells])
    return rows


def _cell(entry: Entry) -> str:
    view = describe(entry.view)
    return with_interval(entry.score.score, *entry.ends) + (f" ({view})" if view else "")


def text(standings: Standings) -> str:
    """The table for a terminal; columns that do not fit beside each other stand below."""
    rows = grid(standings)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    blocks, shown = [], 1
    while shown < len(widths):
        columns, used = [0], widths[0]
        while shown < len(widths) and (len(columns) == 1 or used + 3 + widths[shown] <= WIDTH):
            columns.append(shown)
            used += 3 + widths[shown]
            shown += 1
        lines = ["   ".join(row[column].ljust(widths[column]) for column in columns).rstrip() for row in rows]
        empty = [not any(row[column] for column in columns[1:]) for row in rows]
        blocks.append("\n".join(line for line, none in zip(lines, empty, strict=True) if not none))
    return "\n\n".join(blocks)


def legend(standings: Standings, best: str = "* the highest") -> str:
    """How to read a cell; `best` says how the best one is marked."""
    by = {standing.by for encoders in standings.values() for standing in encoders.values() if standing.tried > 1}
    chosen = {
        frozenset(): "",
        frozenset({"valid"}): " Block and tokens were chosen on validation.",
        frozenset({"test"}): " Block and tokens were chosen on these very items, so the scores are a little high.",
    }.get(frozenset(by), " Block and tokens were chosen on validation where it is known, else on these very items.")
    over = units(standing.entry for encoders in standings.values() for standing in encoders.values())
    return f"Per cent ± half of the 95 % interval over {over} and seeds; {best}.{chosen}"


def write_csv(board: Board, standings: Standings, path: Path) -> Path:
    """Every entry of the report, chosen or not, a row each."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, COLUMNS)
        writer.writeheader()
        for test, encoders in board.items():
            for name, entries in encoders.items():
                chosen = standings[test][name].entry
                writer.writerows(_row(entry, name, entry is chosen) for entry in entries)
    return path


def _row(entry: Entry, name: str, chosen: bool) -> dict[str, object]:
    score = entry.score
    plain = score.plain()
    seeds, (low, high) = score.seeds, entry.ends
    return {key: plain[key] for key in COLUMNS if key in plain} | {
        "encoder": name,
        "low": low,
        "high": high,
        "valid": "" if score.valid is None else score.valid,
        "seeds": len(seeds),
        "spread_over_seeds": float(np.std(seeds, ddof=1)) if len(seeds) > 1 else "",
        "chosen": int(chosen),
        "run": entry.sweep.name,
        "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.sweep.started)),
        "config": json.dumps(dict(score.config)),
        "metrics": json.dumps(dict(score.metrics)),
    }


def write_comparisons(comparisons: Mapping[Test, Comparison], path: Path) -> Path:
    """Every pair of encoders of every test, a row each."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(["task", "corpus", "metric", "n", "ahead", "behind", "by", "low", "high", "more_than_chance"])
        for test, comparison in comparisons.items():
            for (ahead, behind), found in comparison.differences.items():
                what = (test.task, test.corpus, test.metric, test.n, ahead, behind)
                writer.writerow([*what, found.ahead, found.low, found.high, int(found.more_than_chance)])
    return path


def summaries(standings: Standings, comparisons: Mapping[Test, Comparison]) -> list[tuple[str, list[str]]]:
    """Every test in sentences: its heading, and a line for each encoder beside the best one."""
    heads = headings(list(standings))
    found = []
    for test, comparison in comparisons.items():
        leader = next((pair[0] for pair in comparison.differences), None)
        if lines := summary(comparison, leader):
            found.append((", ".join(heads[test]), lines))
    return found


def markdown(standings: Standings, comparisons: Mapping[Test, Comparison], notes: Sequence[str]) -> str:
    """The table and its comparisons in sentences, for a README."""
    out = io.StringIO()
    for number, row in enumerate(_with_one_head(grid(standings))):
        cells = [cell.replace("|", "\\|") for cell in row]
        cells = [f"**{cell.removesuffix('*')}**" if cell.endswith("*") else cell for cell in cells]
        out.write("| " + " | ".join(cells) + " |\n")
        if number == 0:
            out.write("|" + "---|" * len(row) + "\n")
    out.write(f"\n{legend(standings, IN_BOLD)}\n")
    for note in notes:
        out.write(f"\n{note}\n")
    for heading, lines in summaries(standings, comparisons):
        out.write(f"\n{heading}:\n\n" + "".join(f"- {line}\n" for line in lines))
    return out.getvalue()


def _with_one_head(rows: list[list[str]]) -> list[list[str]]:
    """The cells with the two header rows joined to one."""
    first, second, *rest = rows
    return [[f"{one}: {other}" if one else other for one, other in zip(first, second, strict=True)], *rest]


def page(
    standings: Standings, comparisons: Mapping[Test, Comparison], notes: Sequence[str], pictures: Sequence[Path]
) -> str:
    """The same as a page that needs no other file."""
    body = ["<h1>Leaderboard</h1><div class=wide><table>"]
    for number, row in enumerate(_with_one_head(grid(standings))):
        tag = "th" if number == 0 else "td"
        body.append("<tr>" + "".join(_html_cell(tag, cell) for cell in row) + "</tr>")
    body.append(f"</table></div><p>{html.escape(legend(standings, IN_BOLD))}</p>")
    body += [f"<p>{html.escape(note)}</p>" for note in notes]
    for heading, lines in summaries(standings, comparisons):
        body.append(f"<h2>{html.escape(heading)}</h2><ul>")
        body += [f"<li>{html.escape(line)}</li>" for line in lines] + ["</ul>"]
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        body.append(f'<p><img alt="{html.escape(picture.stem)}" src="data:image/png;base64,{data}"></p>')
    style = (
        "body{font:15px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
        "td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left}"
        ".wide{overflow-x:auto}.best{font-weight:bold}img{max-width:100%}"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Leaderboard</title><style>{style}</style>'
    return head + "".join(body) + "</html>\n"


def _html_cell(tag: str, cell: str) -> str:
    """A cell, whose long names may break behind `_`, `+` and `/`; that of the highest has a class, not a star."""
    best = " class=best" if cell.endswith("*") else ""
    shown = re.sub(r"([_+/])", r"\1<wbr>", html.escape(cell.removesuffix("*")))
    return f"<{tag}{best}>{shown}</{tag}>"
