"""Whether one encoder is ahead of another by more than chance, from the predictions that their sweeps kept."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from datasets.intervals import Difference, IntervalError, SystemScores, differences
from experiments import tasks
from experiments.errors import UserError
from experiments.intervals import resampled_together, weighted
from experiments.leaderboard.ranking import Entry, Standing, Test
from experiments.leaderboard.sources import RunSource, from_bytes
from experiments.probes.records import Predictions, Score, load_predictions
from experiments.tasks.base import Task

NEAR = 2e-3  # how far a score may lie from that of its predictions, which are stored in single precision


@dataclass(frozen=True)
class Comparison:
    """The encoders of a test in pairs.

    Attributes:
        differences: Pair of encoders, the better one first -> how far it is ahead.
        alone: Encoder -> why it is compared with none.
        tried: Encoder -> from how many it was chosen on these very items; those chosen elsewhere are absent.
        seeds: How many seeds the encoders have, fewest and most.
        unit: What was evaluated: tracks or songs.
    """

    differences: Mapping[tuple[str, str], Difference] = field(default_factory=dict)
    alone: Mapping[str, str] = field(default_factory=dict)
    tried: Mapping[str, int] = field(default_factory=dict)
    seeds: tuple[int, int] = (1, 1)
    unit: str = "tracks"


def compare(test: Test, standings: Mapping[str, Standing], source: RunSource, resamples: int, seed: int) -> Comparison:
    """Compare the best of every encoder with that of every other, paired over the items.

    Args:
        test: Whose items they are.
        standings: By encoder, best first.
        source: Has the predictions.
        resamples: Of the items.
        seed: Of the resampling.
    """
    alone: dict[str, str] = {}
    given: dict[str, Predictions] = {}
    for name, standing in standings.items():
        try:
            predictions = _predictions(standing.entry, source)
            given[name] = _aligned(predictions, next(iter(given.values()), predictions))
            _check(test, standing.entry.score, given[name])
        except UserError as error:
            given.pop(name, None)
            alone[name] = str(error)
    systems = _systems(test, standings, given, resamples, seed)
    try:
        found = differences(systems, test.n, test.metric)
    except IntervalError as error:
        found, alone = {}, alone | dict.fromkeys(systems, str(error))
    counts = [len(systems[name].seeds) for name in systems] or [1]
    tried = {name: system.tried for name, system in systems.items() if system.tried > 1}
    unit = next((standing.entry.score.unit for standing in standings.values()), "tracks")
    return Comparison(found, alone, tried, (min(counts), max(counts)), unit)


def task_of(name: str, n_outputs: int) -> Task:
    """A task that scores decoded predictions as the one of a sweep did; its classes have no names.

    Raises:
        UserError: No task has this name.
    """
    substitutes = {
        "classes": [str(number) for number in range(n_outputs)],
        "mean": [0.0] * n_outputs,
        "scale": [1.0] * n_outputs,
    }
    kind = tasks.find(name, typed=False)
    needed = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return kind(**{key: substitutes[key] for key in needed if key in substitutes})


def _predictions(entry: Entry, source: RunSource) -> Predictions:
    name = entry.score.predictions
    if not name:
        raise UserError(f"run {entry.sweep.name} kept no predictions")
    content = source.artifact(entry.sweep, name)
    if content is None:
        raise UserError(f"{name} of run {entry.sweep.name} is missing")
    try:
        return from_bytes(load_predictions, content)
    except UserError:
        raise UserError(f"{name} of run {entry.sweep.name} does not hold predictions") from None


def _aligned(predictions: Predictions, anchor: Predictions) -> Predictions:
    """The predictions in the order of other ones.

    Raises:
        UserError: They are for other items.
    """
    ids = predictions.ids
    place = {item: row for row, item in enumerate(ids)}
    if len(place) != len(ids) or len(ids) != len(anchor.ids) or not place.keys() >= set(anchor.ids):
        raise UserError("its predictions are for other items")
    order = np.array([place[item] for item in anchor.ids])
    references = predictions.references[order]
    if references.shape != anchor.references.shape or not np.allclose(references, anchor.references, equal_nan=True):
        raise UserError("its items have other annotations")
    shape, expected = predictions.predictions.shape, anchor.predictions.shape
    if shape[1:] != expected[1:]:
        raise UserError(f"its predictions have the shape {list(shape)}, not {list(expected)}")
    return Predictions(anchor.ids, references, predictions.by_seed[:, order])


def _check(test: Test, score: Score, kept: Predictions) -> None:
    """See that the predictions are those that were scored.

    Raises:
        UserError: They are not.
    """
    task = task_of(test.task, kept.predictions.shape[-1])
    once = np.ones((1, len(kept.ids)), np.float32)
    found = {name: float(one[0]) for name, one in weighted(task, kept.by_seed[0], kept.references, once).items()}
    if test.metric not in found or len(kept.ids) != test.n:
        raise UserError(f"its predictions are for {len(kept.ids)} items, not for {test.metric} on {test.n}")
    if abs(found[test.metric] - score.seeds[0]) > NEAR:
        raise UserError(f"its predictions score {found[test.metric]:.3f}, and {score.seeds[0]:.3f} was reported")


def _systems(
    test: Test, standings: Mapping[str, Standing], given: Mapping[str, Predictions], resamples: int, seed: int
) -> dict[str, SystemScores]:
    """Every encoder on the same resamples, each seed by itself."""
    if not given:
        return {}
    references = next(iter(given.values())).references
    task = task_of(test.task, next(iter(given.values())).predictions.shape[-1])
    of_all = [one for predictions in given.values() for one in predictions.by_seed]
    scored = resampled_together(task, of_all, references, resamples, seed, only=test.metric)
    values = iter([one[test.metric] for one in scored])
    systems = {}
    for name, predictions in given.items():
        mean = np.mean([next(values) for _ in predictions.by_seed], axis=0)
        standing = standings[name]
        systems[name] = SystemScores(standing.entry.score.seeds, mean, standing.tried if standing.by == "test" else 1)
    return systems


def sentence(pair: tuple[str, str], difference: Difference) -> str:
    """`A is ahead of B by 1.3 (0.4 to 2.2): more than chance`, in per cent of the metric."""
    ahead, low, high = (100 * value for value in (difference.ahead, difference.low, difference.high))
    chance = "more than chance" if difference.more_than_chance else "not more than chance"
    verb = "is level with" if difference.ahead == 0 else "is ahead of"
    by = "" if difference.ahead == 0 else f" by {ahead:.1f}"
    return f"{pair[0]} {verb} {pair[1]}{by} ({low:.1f} to {high:.1f}): {chance}"


def summary(comparison: Comparison, leader: str | None = None) -> list[str]:
    """A comparison in sentences: the leader beside each other encoder, then what the intervals hold for."""
    pairs = comparison.differences
    lines = [sentence(pair, found) for pair, found in pairs.items() if leader in (None, pair[0])]
    if pairs:
        count = f"{len(pairs)} pairs: their intervals hold together" if len(pairs) > 1 else "1 pair"
        lines.append(f"Paired over {comparison.unit}; {count}{_caveats(comparison)}.")
    lines += [f"{name} is not compared: {why}" for name, why in comparison.alone.items()]
    return lines


def _caveats(comparison: Comparison) -> str:
    fewest, most = comparison.seeds
    text = "; one seed each, so the spread over seeds is not included"
    if most > 1:
        text = f"; spread over {most} seeds added" + (" where there are several" if fewest == 1 else "")
    if comparison.tried:
        count = max(comparison.tried.values())
        text += f"; wider because blocks and tokens, up to {count}, were chosen on these very items"
    return text
