"""Scores of many sweeps beside each other: which may be compared, which is the latest, which an encoder's best.

Two scores are comparable when they are of the same task, corpus and metric on the same tracks in the same splits with
the same classes. Others stand in tables of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from datasets.intervals import bounds
from datasets.text import pluralize
from experiments.probes.records import SUM, Score, layer_name
from experiments.settings import ROWS
from experiments.tasks.base import unknown

UNNAMED = ROWS[0]  # the encoder of a store that no setting gives a name


@dataclass(frozen=True)
class Sweep:
    """A run that has scores.

    Attributes:
        key: Name of the run.
        number: In the database; None where it was read from its folder.
        started: Unix time.
        artifacts: Where each of its files is: an id in the database, or a path in its folder.
        scores: Its rows.
        folder: Name of the folder of the stores that were probed without a name; empty where they have one.
    """

    key: str
    number: int | None
    started: float
    artifacts: Mapping[str, Any]
    scores: Sequence[Score]
    folder: str = ""

    @property
    def name(self) -> str:
        """What the run is called in the run browser, or on disk."""
        return self.key if self.number is None else str(self.number)


@dataclass(frozen=True)
class Test:
    """What scores hold for; those of equal tests are comparable."""

    task: str
    corpus: str
    metric: str
    split: str
    classes: str
    n: int


@dataclass(frozen=True)
class Entry:
    """A score, the run it is from, and what its encoder is called in this report."""

    score: Score
    sweep: Sweep
    name: str

    @property
    def test(self) -> Test:
        return Test(*(getattr(self.score, key) for key in Test.__dataclass_fields__))

    @property
    def view(self) -> tuple[int | str, str, str]:
        """What of the encoder was probed: block, tokens, pooling."""
        return self.score.block, self.score.tokens, self.score.pooling

    @property
    def ends(self) -> tuple[float, float]:
        """The 95 % interval over items and seeds."""
        return bounds(self.score.metric, self.score.low, self.score.high, self.score.seeds)


@dataclass(frozen=True)
class Standing:
    """The best of an encoder in a test.

    Attributes:
        entry: The chosen one.
        tried: Blocks, tokens and poolings that it was chosen from.
        by: `valid` where it has the best validation score; `test` where that is not known and it has the best score.
    """

    entry: Entry
    tried: int
    by: Literal["valid", "test"]


def units(entries: Iterable[Entry]) -> str:
    """What entries were evaluated on: tracks, songs, or some on the ones and some on the others."""
    return " or ".join(sorted({entry.score.unit for entry in entries}, reverse=True))


Board = dict[Test, dict[str, list[Entry]]]  # encoder -> its entries, blocks and tokens in order
Standings = Mapping[Test, Mapping[str, Standing]]  # encoder -> its best entry, best first


@dataclass(eq=False)  # two are the same only where they are one
class _Encoder:
    """What runs call by one name and was made by one network.

    Attributes:
        networks: Fingerprints, one a block.
        sweeps: In the order they were started.
    """

    networks: set[str]
    sweeps: list[Sweep]


def named(sweeps: Sequence[Sweep]) -> list[Entry]:
    """Every finite score with the name of its encoder.

    An encoder is what one run calls by one name, whatever stores of its blocks that are; one without a name is called
    by the folder of its stores. Where runs give one name to different networks, the runs of each stand behind it.
    """
    encoders: dict[str, list[_Encoder]] = {}
    for sweep in sorted(sweeps, key=_start):
        for name in dict.fromkeys(score.encoder for score in sweep.scores):
            networks = {score.network for score in sweep.scores if score.encoder == name}
            shared = [known for known in encoders.get(name, []) if known.networks & networks]
            rest = [known for known in encoders.get(name, []) if not known.networks & networks]
            before = sorted({one.key: one for known in shared for one in known.sweeps}.values(), key=_start)
            merged = _Encoder(networks.union(*(known.networks for known in shared)), [*before, sweep])
            encoders[name] = [*rest, merged]
    called: dict[str, list[_Encoder]] = {}
    for name, those in encoders.items():
        for one in those:
            called.setdefault(_called(name, one, encoders), []).append(one)
    names = {
        one: name if len(those) == 1 else f"{name} ({_runs(one.sweeps)})"
        for name, those in called.items()
        for one in those
    }
    return [
        Entry(score, sweep, names[next(one for one in encoders[score.encoder] if score.network in one.networks)])
        for sweep in sweeps
        for score in sweep.scores
        if _finite(score)
    ]


def _start(sweep: Sweep) -> tuple[float, str]:
    return sweep.started, sweep.key


def _called(name: str, encoder: _Encoder, others: Mapping[str, Any]) -> str:
    """An encoder's name: of one without a name, the folder of its stores, unless another encoder is called so."""
    folders = list(dict.fromkeys(sweep.folder for sweep in encoder.sweeps if sweep.folder))
    if name != UNNAMED or not folders or folders[0] in others:
        return name
    return folders[0] if len(folders) == 1 else f"{folders[0]} and {len(folders) - 1} more"


def _runs(sweeps: Sequence[Sweep]) -> str:
    """The runs that an encoder has scores from, in words."""
    latest = sweeps[-1].name
    return f"run {latest}" if len(sweeps) == 1 else f"{pluralize(len(sweeps), 'run')}, the latest {latest}"


def _finite(score: Score) -> bool:
    values = (score.score, score.low, score.high, *score.seeds)
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def filtered(
    entries: Sequence[Entry], tasks: Sequence[str] = (), corpora: Sequence[str] = (), encoders: Sequence[str] = ()
) -> list[Entry]:
    """The entries of some tasks, corpora and encoders; empty lists leave everything in.

    Raises:
        UserError: None has such a name; the message names the nearest.
    """
    for key, wanted in (("task", tasks), ("corpus", corpora), ("encoder", encoders)):
        known = {getattr(entry.score, key) for entry in entries}
        known |= {entry.name for entry in entries} if key == "encoder" else set()
        for name in wanted:
            if name not in known:
                raise unknown(f"{key} of a sweep", name, sorted(known))
    return [
        entry
        for entry in entries
        if (not tasks or entry.score.task in tasks)
        and (not corpora or entry.score.corpus in corpora)
        and (not encoders or entry.score.encoder in encoders or entry.name in encoders)
    ]


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """Of entries for the same test, encoder, block, tokens and pooling, the one of the run that was started last."""
    chosen: dict[tuple[Any, ...], Entry] = {}
    for entry in sorted(entries, key=lambda one: _start(one.sweep)):
        chosen[entry.test, entry.name, entry.score.kind, entry.view] = entry
    return list(chosen.values())


def apart(entries: Sequence[Entry]) -> list[Entry]:
    """Every run as an encoder of its own, where several have the same entry."""
    runs: dict[tuple[Any, ...], set[str]] = {}
    for entry in entries:
        runs.setdefault((entry.test, entry.name, entry.view), set()).add(entry.sweep.key)
    repeated = {name for (_, name, _), keys in runs.items() if len(keys) > 1}
    return [
        replace(entry, name=f"{entry.name}, run {entry.sweep.name}") if entry.name in repeated else entry
        for entry in entries
    ]


def board(entries: Sequence[Entry]) -> Board:
    """Sort entries by test and encoder; tests by task, corpus and the most entries, blocks in their order."""
    found: Board = {}
    for entry in entries:
        found.setdefault(entry.test, {}).setdefault(entry.name, []).append(entry)
    order = sorted(found, key=lambda test: (test.task, test.corpus, -sum(map(len, found[test].values())), str(test)))
    return {
        test: {name: sorted(found[test][name], key=lambda entry: _place(*entry.view)) for name in sorted(found[test])}
        for test in order
    }


def _place(block: int | str, tokens: str, pooling: str) -> tuple[Any, ...]:
    return isinstance(block, str), block == SUM, block, tokens, pooling


def standings(encoders: Mapping[str, Sequence[Entry]]) -> dict[str, Standing]:
    """The best entry of every encoder, best first; chosen on validation where every entry of it was evaluated there."""
    found = {}
    for name, entries in encoders.items():
        by_valid = len(entries) == 1 or all(entry.score.valid is not None for entry in entries)
        value = (lambda entry: entry.score.valid or 0.0) if by_valid else (lambda entry: entry.score.score)
        found[name] = Standing(max(entries, key=value), len(entries), "valid" if by_valid else "test")
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].entry.score.score, pair[0])))


def ranked(tests: Standings) -> list[str]:
    """All encoders, by the share of the others that they beat in the tests they share; then by name."""
    beaten: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for standing in tests.values():
        for place, name in enumerate(standing):
            beaten[name] += len(standing) - 1 - place
            met[name] += len(standing) - 1
    return sorted(met, key=lambda name: (-beaten[name] / max(1, met[name]), name))


def describe(view: tuple[int | str, str, str]) -> str:
    """Block, tokens and pooling in words; empty where there are none. The mean of the windows goes without saying."""
    block, tokens, pooling = view
    return ", ".join(word for word in (layer_name(block), tokens, "" if pooling == "mean" else pooling) if word)
