"""What a sweep leaves for whoever compares scores: rows, and the predictions they were computed from.

A run of a sweep has its rows in `info.scores` and in the artifact `scores.csv`, one a task, encoder, block, choice of
tokens and kind, and beside them one artifact of predictions a row. The leaderboard reads these, from the database or
from the folders of runs, and nothing else of a sweep.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from datasets.csv_writing import RecordWriter, bare
from datasets.npy_files import read_npz
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.layer_folders import layer_in
from experiments.settings import ROWS

if TYPE_CHECKING:
    from experiments.tracking import RunHandle

MAJORITY_OR_MEAN = ROWS[2]
SCORES = "scores.csv"
SUM = "sum"  # the block of a learned weighted sum of blocks
PREDICTIONS = ("predictions", "answers")  # kinds of stores of decoded predictions; the second is the former name
OF_JSON = ("seeds", "config", "metrics")  # columns that hold JSON in a table
FORMER_ROWS = {"constant answer": MAJORITY_OR_MEAN}  # names of baselines in runs of earlier versions


@dataclass(frozen=True)
class Score:
    """A representation's score in a task.

    Attributes:
        task: Name.
        corpus: Name.
        encoder: What the row is called: the setting's name of a store, or a baseline's.
        kind: Whether a probe was trained.
        metric: The task's primary metric.
        score: Of the test split, mean over seeds.
        low: Lower end of the 95 % bootstrap interval over items.
        high: Upper end.
        seeds: The score of every seed.
        n: Items evaluated: songs where clips are evaluated together.
        split: `split_fingerprint` of `data.identify`: equal for equal tracks in equal splits.
        classes: `classes_fingerprint` of `data.identify`.
        network: Fingerprint of the store; empty where there is none.
        block: Of the network, counted from 0, or the name of a layer; `sum` for the learned sum; empty for none.
        tokens: Their names, e.g. `cls+dist`, or `all`; empty where they have none.
        pooling: How the windows of a track became one; empty where there are none.
        aggregation: In words, e.g. "mean of windows; song: gmean".
        config: The probe that was chosen with the first seed.
        predictions: Name of the artifact with the predictions.
        metrics: Every metric of the test split, mean over seeds.
        valid: The primary metric of the validation split, mean over seeds, which reports choose blocks and tokens by;
            None where nothing was evaluated there.
    """

    task: str
    corpus: str
    encoder: str
    kind: Literal["probe", "baseline"]
    metric: str
    score: float
    low: float
    high: float
    seeds: Sequence[float]
    n: int
    split: str
    classes: str
    network: str = ""
    block: int | str = ""
    tokens: str = ""
    pooling: str = ""
    aggregation: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    predictions: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    valid: float | None = None

    @property
    def unit(self) -> str:
        """What was evaluated, in the plural: tracks, or the songs that they are clips of."""
        return "songs" if "song" in self.aggregation else "tracks"

    def plain(self) -> dict[str, Any]:
        """As `info.scores` has it."""
        return asdict(self) | {"seeds": [float(score) for score in self.seeds]}


_SCORE = TypeAdapter(Score)


def write_scores(scores: Sequence[Score], run: RunHandle) -> Path:
    """Keep the rows with a run: `info.scores` and `scores.csv`."""
    table = run.directory / SCORES
    aside = table.with_name(f".{SCORES}.{os.getpid()}")
    with aside.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, [one.name for one in fields(Score)])
        writer.writeheader()
        for score in scores:
            plain = score.plain()
            writer.writerow(plain | {name: json.dumps(plain[name]) for name in OF_JSON})
    os.replace(aside, table)
    run.set_info(scores=[score.plain() for score in scores])
    run.add_artifact(table)
    return table


def read_scores(rows: Iterable[Mapping[str, Any]]) -> list[Score]:
    """The rows of `info.scores`; keys that are not known here are passed over.

    Raises:
        UserError: A row lacks what every row has.
    """
    read = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(f"row {number} of a sweep's scores is a {type(row).__name__}, expected values by name")
        try:
            score = _SCORE.validate_python(dict(row))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"row {number} of a sweep's scores: {'.'.join(map(str, first['loc']))!r}: {first['msg']}"
            ) from None
        former = score.kind == "baseline" and not score.network and FORMER_ROWS.get(score.encoder)
        read.append(replace(score, encoder=former) if former else score)
    return read


def read_scores_csv(path: str | Path) -> list[Score]:
    """The rows of `scores.csv`.

    Raises:
        UserError: The file is missing, or no table of scores.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such table of scores")
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        return read_scores([_typed(row) for row in rows])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OSError, csv.Error) as error:
        raise UserError(f"{path}: not the scores of a sweep ({error})") from None


def _typed(written: Mapping[str, str]) -> dict[str, Any]:
    """A row of a table with the JSON in it read; numbers stay text, which `read_scores` takes too."""
    row = {name: bare(text) for name, text in written.items()}
    block = int(row["block"]) if row["block"].isdigit() else row["block"]
    parsed = {name: json.loads(row[name]) for name in OF_JSON}
    return dict(row) | parsed | {"block": block, "valid": row.get("valid") or None}


@dataclass(frozen=True)
class Predictions:
    """The predictions a score was computed from.

    Attributes:
        ids: Items, in the order of the rows; songs where clips are evaluated together.
        references: Stacked targets, `[items, ...]`.
        by_seed: As the task decodes them, of every seed, `[seeds, items, outputs]`.
    """

    ids: list[str]
    references: np.ndarray
    by_seed: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """Those of the first seed, `[items, outputs]`."""
        return self.by_seed[0]


def folder_name(store: str) -> str:
    """What a network's stores are called: the name of the folder that holds those of its blocks."""
    path = Path(store).expanduser().absolute()
    return (path.parent if layer_in(path.name) is not None else path).name


def layer_name(block: int | str) -> str:
    """A layer in words: `block 6`, `sum of blocks`, `layer conv5`, `layer1`; empty where there is none."""
    if isinstance(block, int):
        return f"block {block}"
    if block == SUM:
        return "sum of blocks"
    return f"layer {block}" if block and not block.startswith("layer") else block


def predictions_name(task: str, encoder: str, block: int | str = "", tokens: str = "", pooling: str = "") -> str:
    """The name of a row's artifact of predictions."""
    parts = (task, encoder, str(block), tokens, "" if pooling == "mean" else pooling)
    return "predictions_" + "_".join(re.sub(r"[^\w+-]+", "-", part) for part in parts if part) + ".npz"


def save_predictions(path: str | Path, ids: Sequence[str], by_seed: np.ndarray, references: np.ndarray) -> Path:
    """Write predictions `[seeds, items, outputs]` without pickles; the file is replaced whole.

    Raises:
        UserError: The arrays do not fit together.
    """
    path = Path(path)
    if by_seed.ndim < 2 or not len(ids) == by_seed.shape[1] == len(references):
        raise UserError(
            f"{path.name}: {pluralize(len(ids), 'id')}, predictions of shape {list(by_seed.shape)} and references of "
            f"shape {list(references.shape)}: expected [seeds, items, ...] and one reference an item"
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    arrays = {"ids": np.array(ids, dtype=np.str_), "predictions": by_seed[0], "references": references}
    with aside.open("wb") as handle:
        np.savez_compressed(handle, **arrays, **({"by_seed": by_seed} if len(by_seed) > 1 else {}))
    os.replace(aside, path)
    return path


def load_predictions(path: str | Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises:
        UserError: The file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of predictions")
    try:
        arrays = read_npz(path)
        ids, predictions, references = (arrays[name] for name in ("ids", "predictions", "references"))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no predictions of a sweep ({error})") from None
    by_seed = arrays.get("by_seed", predictions[None])
    if ids.ndim != 1 or ids.dtype.kind != "U" or not len(ids) == len(predictions) == len(references):
        raise UserError(f"{path}: no predictions of a sweep (ids, predictions and references do not belong together)")
    if by_seed.shape[1:] != predictions.shape or not len(by_seed):
        raise UserError(f"{path}: no predictions of a sweep (by_seed of shape {list(by_seed.shape)})")
    return Predictions(ids.tolist(), references, by_seed)
