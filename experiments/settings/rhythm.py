"""How the activations of a network for beats become beats, downbeats and bars."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from datasets.text import enumerated
from experiments.errors import UserError
from experiments.settings.base import Positive, Section, Share

if TYPE_CHECKING:
    from models.rhythm.options import Decoding

Decoder = Literal["peaks", "dbn", "online"]
Decoders = Annotated[
    list[Decoder], Field(min_length=1), BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
]
Tempo = Annotated[float, Field(ge=5, le=1000)]
Bar = Annotated[int, Field(ge=1, le=32)]
USUAL = "peaks"  # where neither settings nor a checkpoint say it
MODEL = ("min_bpm", "max_bpm", "tempo", "bars", "bar_priors", "n_tempi", "transition_lambda")
READ: Mapping[str, Sequence[str]] = {  # what the decoders do not have in common
    "peaks": ("peak_threshold", "downbeat_threshold", "min_interval"),
    "dbn": (*MODEL, "threshold", "metre_changes"),
    "online": MODEL,
}


class RhythmSettings(Section):
    """How the activations of a network for beats become beats, downbeats and bars; nothing of it is for training."""

    decoder: Decoders | None = None  # several: to compare; None: of predict the better in validation
    peak_threshold: Share = 0.5  # peaks: activation from which on a peak is a beat
    downbeat_threshold: Share = 0.5  # peaks: activation from which on a peak is a downbeat
    min_interval: Annotated[float, Field(ge=0, le=10)] = 0.2  # peaks: least seconds between two beats
    min_bpm: Tempo | None = None  # slowest tempo; None: dbn, online: 40, networks for tempo: all that they know
    max_bpm: Tempo | None = None  # fastest tempo; None: dbn, online: 215, networks for tempo: all that they know
    tempo: Tempo | None = None  # dbn, online: the tempo where it is known, BPM, which may be 5 % off
    bars: Annotated[list[Bar], Field(min_length=1)] = [2, 3, 4]  # dbn, online: beats that a bar may have
    bar_priors: list[float] | None = None  # dbn, online: natural logarithm of how likely each of bars is; None: alike
    n_tempi: Positive | None = 60  # dbn, online: tempi told apart, at least; None: all that frames can tell apart
    transition_lambda: Annotated[float, Field(gt=0)] | None = 100.0  # dbn, online: larger: steadier; None: one tempo
    threshold: Share = 0.05  # dbn: nothing is looked for before the first and after the last beat that is so likely
    metre_changes: bool = False  # dbn: bars may change their length within a recording
    pinned: str | None = None  # predict, peaks or dbn: a file of known beats, a line each: seconds, position

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        low, high = self.limits
        if low >= high:
            raise ValueError(f"min_bpm={low:g} and max_bpm={high:g}: the first must be the smaller")
        if len(set(self.bars)) < len(self.bars):
            raise ValueError(f"bars={self.bars}: give each length once")
        if self.bar_priors is not None and len(self.bar_priors) != len(self.bars):
            raise ValueError(f"bar_priors={self.bar_priors} for bars={self.bars}: give one for each")
        if len(set(self.decoder or ())) < len(self.decoder or ()):
            raise ValueError(f"decoder={','.join(self.decoder or ())}: give each once")
        return self

    def decoders(self, usual: Sequence[Decoder] = (USUAL,)) -> tuple[Decoder, ...]:
        """The decoders that the settings name; where they name none, the usual ones."""
        return tuple(self.decoder or usual)

    @property
    def limits(self) -> tuple[float, float]:
        """The slowest and the fastest tempo of the bar model, BPM."""
        from models.rhythm.options import Decoding

        low, high = Decoding.min_bpm, Decoding.max_bpm
        return low if self.min_bpm is None else self.min_bpm, high if self.max_bpm is None else self.max_bpm

    def check_read(self, decoders: Sequence[Decoder]) -> None:
        """Refuse what is set for other decoders than those in use.

        Raises:
            UserError: None of these reads it.
        """
        read = {name for decoder in decoders for name in READ[decoder]}
        usual = RhythmSettings()
        for name in dict.fromkeys(name for names in READ.values() for name in names):
            value = getattr(self, name)
            if name not in read and value != getattr(usual, name):
                readers = [decoder for decoder, names in READ.items() if name in names]
                raise UserError(
                    f"rhythm.{name}={value} is for {' and '.join(readers)}, and beats are made by "
                    f"{enumerated(decoders, len(decoders))}: leave it out, or give rhythm.decoder={readers[0]}"
                )

    def check_unread(self, what: str, read: Sequence[str] = ()) -> None:
        """Refuse what is set where no beats are made.

        Args:
            what: Is done instead.
            read: Settings that it reads.

        Raises:
            UserError: Another one is set.
        """
        usual = RhythmSettings()
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name not in read and value != getattr(usual, name):
                shown = ",".join(value) if name == "decoder" else value
                raise UserError(f"rhythm.{name}={shown} has no effect on {what}: leave it out")

    def decoding(self, decoder: Decoder, alternatives: bool = False) -> Decoding:
        """The options of a decoder, without pinned beats, which belong to one recording.

        Args:
            decoder: Which one.
            alternatives: Whether `dbn` looks for half and double tempi too, which takes as long again.
        """
        from models.rhythm.options import Decoding

        low, high = self.limits
        bars = dict(zip(self.bars, self.bar_priors or [0.0] * len(self.bars), strict=True))
        own = {"min_bpm": low, "max_bpm": high, "bars": bars, "alternatives": alternatives}
        same = set(Decoding.__dataclass_fields__) & set(type(self).model_fields) - {*own, "pinned"}
        return Decoding(decoder, **own, **self.model_dump(include=same))
