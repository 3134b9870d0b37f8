"""Audio or features, annotations, and how windows are cut from them."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from datasets.splits import check_shares
from experiments.settings.base import Count, Positive, Section, Share, TaskName

Shares = Annotated[list[float], AfterValidator(lambda shares: list(check_shares(shares)))]


class RollSettings(Section):
    """Circular shift along time."""

    do: bool = False  # shift windows
    shift_range: Positive = 50  # frames


class NormSettings(Section):
    """Mean and deviation that inputs are normalised with; None takes the front end's own (the Discogs corpus)."""

    norm_mean: float | None = None  # log-mel; None: the front end's
    norm_std: Annotated[float, Field(gt=0)] | None = None  # log-mel; None: the front end's


class MaskingSettings(Section):
    """SpecAugment, drawn for each window."""

    do: bool = True  # mask windows
    time_masks: Count = 20  # of a window
    time_mask_param: Positive = 8  # frames
    freq_masks: Count = 8  # of a window
    freq_mask_param: Positive = 5  # bands
    p: Share = 0.2  # no mask in time covers more than this share of the window


class SamplerSettings(Section):
    """Balanced sampling of the tracks of an epoch."""

    sample_weight_offset: Annotated[float, Field(ge=0)] = 100.0  # added to the count of a class before it is inverted
    sample_weight_sum: bool = True  # a track's weight: the sum over its labels; False: the largest
    sampler_replace: bool = False  # whether a track may be drawn twice in an epoch
    epoch_len: Positive = 200_000  # draws; at most one per track without replacement
    corpus_temperature: Annotated[float, Field(ge=1)] = 1.0  # of events: above 1, small corpora are drawn more
    # drawn alike; bins: of 10 BPM; stretch: tempi, by speeds; typical: tempi as often as in music at large, by speeds
    balance: Literal["labels", "tracks", "bins", "stretch", "typical"] = "labels"  # what is drawn equally often


class ColumnsSettings(Section):
    """Which column of the table holds what; a default stands for other usual names too."""

    path: str = "path"  # of the audio, below base_dir
    split: str = "split"  # train, valid or test
    tags: str | Annotated[list[str], Field(min_length=1)] = "tags"  # several are pooled
    genre: str = "genre"  # one label a track
    artist: str = "artist"  # what splits=grouped keeps together: of artists, albums, works
    key: str = "key"  # C#m, Eb:maj, cis-moll, 8A, ...
    tempo: str = "tempo"  # BPM
    arousal: str = "arousal"  # a number
    valence: str = "valence"  # a number
    beats: str = "beats"  # a file of beats, relative to the table or the audio, or a JSON list
    group: str = "group"  # of the clips of a song, which probes evaluate together
    corpus: str = "corpus"  # where a table holds several, which beats are scored apart on


class DatamoduleSettings(Section):
    """Audio or features, annotations, and how windows are cut from them."""

    base_dir: str | None = None  # audio folder, mel store or folder of upstream mels; None: the demo corpus
    groundtruth: str | None = None  # table, folder of beats; folders: classes; teacher: distillation; None: tracks.*
    groundtruth_train: str | None = None  # upstream's pickles, one a split
    groundtruth_val: str | None = None  # the same for validation
    groundtruth_test: str | None = None  # the same for the test
    labels: str | None = None  # the classes: a text file with one a line, or a checkpoint; None: those of the table
    unknown_labels: Literal["refuse", "drop"] = "refuse"  # what becomes of labels that are not among `labels`
    max_unmatched: Share = 1.0  # of tracks without audio, without labels or without the task's: more is an error
    min_tracks: Count = 0  # labels with fewer training tracks are dropped
    merge_spellings: bool = True  # labels that differ in case, spaces or Unicode form alone are one
    separators: Annotated[str, Field(min_length=1)] = ";|"  # of the tags of a cell: any of these characters
    columns: ColumnsSettings = ColumnsSettings()
    splits: Literal["hashed", "stratified", "grouped"] | None = None  # None: the table's, hashed where it has none
    split_shares: Shares = [0.8, 0.1, 0.1]  # in train, valid, test
    split_seed: Count = 0  # not the run's, so that training and probes with other seeds have the same splits
    task: Literal["auto"] | TaskName = "auto"  # auto: tagging where tracks have tags, else genre, else what there is
    demo_size: Literal["tiny", "small"] | Positive = "small"  # pieces of the demo corpus, where there is no base_dir
    store_dir: str | None = None  # where an audio folder's mels go; None: outputs/mels/<folder>-<hash>
    input: Literal["features", "audio"] | None = None  # audio: the front end on the device; None: the network's own
    store_type: Literal["int16", "float32"] = "int16"  # of samples stored of an audio folder; float32: unrounded
    clip_length: Annotated[float, Field(gt=0)] | None = None  # of a window, s; None: what the network takes, or 10
    batch_size_train: Positive = 12  # windows, of one process
    batch_size_test: Positive = 20  # windows, of one process
    preload: Literal["auto", "device", "no"] = "auto"  # training tracks into its memory; auto: audio, on a GPU
    num_workers: Count | None = None  # None: 4 beside a GPU, else none
    jobs: int = -1  # processes that decode audio, -1: all cores
    roll: RollSettings = RollSettings()
    norm: NormSettings = NormSettings()
    masking: MaskingSettings = MaskingSettings()
    sampler: SamplerSettings = SamplerSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> DatamoduleSettings:
        tables = ("groundtruth", "groundtruth_train", "groundtruth_val", "groundtruth_test")
        given = next((name for name in tables if getattr(self, name)), None)
        if given and self.base_dir is None and self.groundtruth != "teacher":
            raise ValueError(
                f"{given}={getattr(self, given)} without base_dir: give the folder of its audio or features"
            )
        if self.jobs == 0:
            raise ValueError("jobs=0: give the number of processes, or -1 for one a core")
        return self
