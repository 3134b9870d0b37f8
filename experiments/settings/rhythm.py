"""How the activations of a network for beats become beats, downbeats and bars."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from experiments.settings.base import Positive, Section, Share

if TYPE_CHECKING:
    from models.rhythm.decoding import Decoding

Decoder = Literal["peaks", "dbn", "online"]
Tempo = Annotated[float, Field(gt=0, le=1000)]
Bar = Annotated[int, Field(ge=1, le=32)]
USUAL = "peaks"  # where neither settings nor a checkpoint say it


class RhythmSettings(Section):
    """How the activations of a network for beats become beats, downbeats and bars; nothing of it is for training."""

    decoder: Decoder | Annotated[list[Decoder], Field(min_length=1)] | None = (
        None  # several to compare; None: peaks, or the better one
    )
    peak_threshold: Share = 0.5  # peaks: activation from which on a peak is a beat
    min_bpm: Tempo = 40.0  # dbn, online: slowest tempo
    max_bpm: Tempo = 215.0  # dbn, online: fastest; 300 for drums alone
    tempo: Tempo | None = None  # dbn, online: the tempo where it is known, BPM
    bars: Annotated[list[Bar], Field(min_length=1)] = [3, 4]  # dbn, online: beats that a bar may have
    bar_priors: list[float] | None = None  # natural logarithms of how likely each of bars is; None: all alike
    n_tempi: Positive = 60  # dbn, online: tempi told apart, at most
    transition_lambda: Annotated[float, Field(gt=0)] = 100.0  # dbn, online: the larger, the steadier the tempo
    metre_changes: bool = False  # dbn: bars may change their length within a recording
    pinned: str | None = None  # predict, dbn: a file of known beats, a line each: seconds, and position where known

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_bpm >= self.max_bpm:
            raise ValueError(f"min_bpm={self.min_bpm:g} and max_bpm={self.max_bpm:g}: the first must be the smaller")
        if self.tempo is not None and not self.min_bpm <= self.tempo <= self.max_bpm:
            raise ValueError(f"tempo={self.tempo:g} lies outside of min_bpm={self.min_bpm:g} to {self.max_bpm:g}")
        if len(set(self.bars)) < len(self.bars):
            raise ValueError(f"bars={self.bars}: give each length once")
        if self.bar_priors is not None and len(self.bar_priors) != len(self.bars):
            raise ValueError(f"bar_priors={self.bar_priors} for bars={self.bars}: give one for each")
        names = self.decoder if isinstance(self.decoder, list) else []
        if len(set(names)) < len(names):
            raise ValueError(f"decoder={','.join(names)}: give each once")
        return self

    def decoders(self, usual: Sequence[Decoder] = (USUAL,)) -> tuple[Decoder, ...]:
        """The decoders that the settings name; where they name none, the usual ones."""
        if self.decoder is None:
            return tuple(usual)
        return (self.decoder,) if isinstance(self.decoder, str) else tuple(self.decoder)

    def decoding(self, decoder: Decoder) -> Decoding:
        """The options of a decoder, without pinned beats, which belong to one recording."""
        from models.rhythm.decoding import Decoding

        return Decoding(
            name=decoder,
            min_bpm=self.min_bpm,
            max_bpm=self.max_bpm,
            bars=dict(zip(self.bars, self.bar_priors or [0.0] * len(self.bars), strict=True)),
            n_tempi=self.n_tempi,
            transition_lambda=self.transition_lambda,
            tempo=self.tempo,
            metre_changes=self.metre_changes,
            peak_threshold=self.peak_threshold,
        )
