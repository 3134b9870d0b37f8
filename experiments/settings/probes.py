"""The settings of probes of stored embeddings, and of their report."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from experiments.probes.grids import grid
from experiments.settings.base import Count, Positive, Section, TaskName
from experiments.settings.data import DatamoduleSettings
from experiments.settings.inference import ProbePredictionSettings
from experiments.tracking import TrackingSettings

ROWS = ("embeddings", "mel statistics", "majority class or mean")  # of the table of probes
Tasks = Annotated[list[TaskName], Field(min_length=1)]
Baseline = Annotated[
    Literal["mel_statistics", "majority_or_mean"],
    BeforeValidator(lambda name: "majority_or_mean" if name == "constant" else name),  # its former name
]


class EmbeddingsSettings(Section):
    """What the probes see."""

    store: str | None = None  # an embedding store of extract_embeddings, or the folder of those of several blocks
    name: str = ""  # of its encoder; empty: embeddings, and in the leaderboard the name of the store's folder
    compare: dict[str, str] = {}  # further ones to probe in the same way, by the name they get in the table
    predictions: dict[str, str] = {}  # stores of predictions, for which nothing is trained, or folders, by their name
    ahead: dict[str, str] = {}  # ROW: OTHER, a line below the table: how far one row of it is ahead of another one
    baselines: list[Baseline] = ["mel_statistics", "majority_or_mean"]  # rows that need no network
    blocks: list[Count] | None = None  # of a folder of several; None: all there are
    layers: list[str] | None = None  # of a folder of several that have names, not numbers; None: all there are
    block_sum: bool = False  # a learned weighted sum of the blocks, as a row of its own
    tokens: Annotated[list[str], Field(min_length=1)] = ["all"]  # of a vector, as cls, cls+dist, all; each is a row
    pooling: Annotated[list[Literal["mean", "max", "mean+std"]], Field(min_length=1)] = ["mean"]  # of the windows

    @model_validator(mode="after")
    def _names_differ(self) -> EmbeddingsSettings:
        for section, names in (("compare", self.compare), ("predictions", self.predictions)):
            if taken := sorted(set(names) & set(ROWS)):
                raise ValueError(f"{section}.{taken[0]}: {', '.join(ROWS)} are rows of the table already; rename it")
            if self.name in names:
                raise ValueError(f"name={self.name} and {section}.{self.name}: one name for two rows; choose another")
        if both := sorted(set(self.compare) & set(self.predictions)):
            raise ValueError(f"compare.{both[0]} and predictions.{both[0]}: one name for two rows; choose another")
        if self.name in ROWS[1:]:
            raise ValueError(f"name={self.name}: this is a row of the table already; choose another name")
        return self

    @model_validator(mode="after")
    def _compared_rows_exist(self) -> EmbeddingsSettings:
        rows = [self.name or ROWS[0], *self.compare, *self.predictions, *ROWS[1:]]
        for row, other in self.ahead.items():
            if unknown := [name for name in (row, other) if name not in rows]:
                raise ValueError(f"ahead.{row}={other}: no row is called {unknown[0]!r}; there are {', '.join(rows)}")
            if row == other:
                raise ValueError(f"ahead.{row}={other}: one row; name two")
        return self


class ProbeSettings(Section):
    """The probes, how one is chosen, and who computes."""

    tasks: Literal["auto"] | Tasks = "auto"  # auto: what tracks are annotated for
    grid: str = "quick"  # full: the 216 points of the literature; quick: a coarser one; single: one point
    axes: dict[str, list[bool | int | float | None | str] | bool | int | float | None | str] = {}  # changes of the grid
    max_steps: Positive | None = None  # no probe is trained for longer; it keeps its best weights
    early: Literal["halving"] | None = None  # halving: what falls behind is not trained to its end; None: all is
    seeds: Positive | list[Count] | None = None  # those listed, or so many from the run's on; None: the run's alone
    shots: Positive | None = None  # training tracks of every class; None: all
    train_share: Annotated[float, Field(gt=0, le=1)] | None = None  # of the training tracks
    jobs: int | None = None  # processes, -1: one a core; None: those of joblib.parallel_config, or one a core
    backend: str | None = None  # of joblib: loky, threading, ...; None: that of joblib.parallel_config, or loky
    scheduler: str | None = None  # of a Dask cluster: its workers train, tcp://host:port
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    sweep_dir: str = "outputs/sweeps"  # finished parts of sweeps, from which the same command goes on
    runs: bool = True  # a child run for every probe, grouped under that of the sweep
    file: str | None = None  # predict: a probe that was kept, probe_*.safetensors of its run

    @model_validator(mode="after")
    def _can_be_trained(self) -> ProbeSettings:
        grid(self.grid, self.axes, self.max_steps)
        if self.shots is not None and self.train_share is not None:
            raise ValueError(f"shots={self.shots} and train_share={self.train_share}: give one of them")
        if self.seeds == []:
            raise ValueError("seeds=[]: give one or more, or how many")
        if self.jobs == 0:
            raise ValueError("jobs=0: give the number of processes, or -1 for one a core")
        return self


class ReportSettings(Section):
    """Which scores of sweeps the report compares; empty lists take all."""

    source: Literal["auto", "database", "disk"] = "auto"  # auto: the database of the runs, or runs_dir without one
    tasks: list[TaskName] = []  # []: all
    corpora: list[str] = []  # by name
    encoders: list[str] = []  # by the names of their rows
    since: str | None = None  # a date such as 2026-11-01, or an age such as 12h, 7d, 2w
    runs: list[int | str] = []  # numbers or keys of sweeps
    group: str | None = None  # as tracking.group was in the sweeps
    repeats: Literal["latest", "all"] = "latest"  # of one encoder, block and choice of tokens
    resamples: Annotated[int, Field(ge=100)] = 1000  # of the tracks, for intervals of differences


class ProbeExperimentSettings(Section):
    """`ex_probe.py`."""

    seed: Count = 0  # of everything random but the splits
    embeddings: EmbeddingsSettings = EmbeddingsSettings()
    datamodule: DatamoduleSettings = DatamoduleSettings()
    probe: ProbeSettings = ProbeSettings()
    report: ReportSettings = ReportSettings()
    inference: ProbePredictionSettings = ProbePredictionSettings()
    tracking: TrackingSettings = TrackingSettings()
