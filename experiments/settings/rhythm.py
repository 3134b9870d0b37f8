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
Decoders = Annotated[list[Decoder], Field(min_length=1)]
Tempo = Annotated[float, Field(ge=5, le=1000)]
Bar = Annotated[int, Field(ge=1, le=32)]
USUAL = "peaks"  # where neither settings nor a checkpoint say it


class RhythmSettings(Section):
    """How the activations of a network for beats become beats, downbeats and bars; nothing of it is for training."""

    decoder: Decoder | Decoders | None = None  # several: to compare; None: of predict the better in validation
    peak_threshold: Share = 0.5  # peaks: activation from which on a peak is a beat
    downbeat_threshold: Share = 0.5  # peaks: the same of a downbeat
    min_interval: Annotated[float, Field(ge=0, le=10)] = 0.0  # peaks: least seconds between two beats
    min_bpm: Tempo = 40.0  # dbn, online: slowest tempo
    max_bpm: Tempo = 215.0  # dbn, online: fastest; 300 for drums alone
    tempo: Tempo | None = None  # dbn, online: the tempo where it is known, BPM, which may be 5 % off
    bars: Annotated[list[Bar], Field(min_length=1)] = [3, 4]  # dbn, online: beats that a bar may have
    bar_priors: list[float] | None = None  # natural logarithms of how likely each of bars is; None: all alike
    n_tempi: Positive | None = 60  # dbn, online: tempi told apart, at least; None: all that frames can tell apart
    transition_lambda: Annotated[float, Field(gt=0)] | None = 100.0  # larger: steadier; None: one tempo throughout
    threshold: Share = 0.05  # dbn: nothing is looked for before and after the outermost activations of this height
    metre_changes: bool = False  # dbn: bars may change their length within a recording
    pinned: str | None = None  # predict: a file of known beats, a line each: seconds, and position where known

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_bpm >= self.max_bpm:
            raise ValueError(f"min_bpm={self.min_bpm:g} and max_bpm={self.max_bpm:g}: the first must be the smaller")
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

    def decoding(self, decoder: Decoder, alternatives: bool = False) -> Decoding:
        """The options of a decoder, without pinned beats, which belong to one recording.

        Args:
            decoder: Which one.
            alternatives: Whether `dbn` looks for half and double tempi too, which takes as long again.
        """
        from models.rhythm.decoding import Decoding

        same = set(Decoding.__dataclass_fields__) & set(type(self).model_fields) - {"bars", "pinned"}
        bars = dict(zip(self.bars, self.bar_priors or [0.0] * len(self.bars), strict=True))
        return Decoding(name=decoder, bars=bars, alternatives=alternatives, **self.model_dump(include=same))
