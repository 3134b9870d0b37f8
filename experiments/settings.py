"""The typed settings of the experiments: what a key may be, its default, its unit.

Sacred resolves a command line once; the result is parsed into one of these and plain typed values are passed down.
Names are those of the MAEST experiments where both have the setting.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from datasets.splits import check_shares
from experiments.probes.grids import grid
from experiments.tasks import find
from experiments.tracking import TrackingSettings

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
TaskName = Annotated[str, AfterValidator(lambda name: find(name).name)]


class Section(BaseModel):
    """A group of settings; unknown keys are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainerSettings(Section):
    """How long, on what and with which arithmetic a network is trained."""

    max_epochs: Positive = 130  # passes over the training tracks, or over sampler.epoch_len of them
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: a GPU where there is one
    devices: Positive | Literal["auto"] = 1  # processes on a node; auto: one a GPU; a launcher's are followed
    num_nodes: Positive = 1  # machines; a launcher's are followed
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"  # auto: bf16-mixed on CUDA, else 32-true
    check_val_every_n_epoch: Positive = 1  # epochs from one validation to the next
    checkpoint_dir: str | None = None  # None: checkpoints/ in the run's folder
    limit_train_batches: Positive | None = None  # batches of an epoch; None: all
    limit_val_batches: Positive | None = None  # batches of a validation; None: all
    limit_test_batches: Positive | None = None  # batches of a test; None: all
    log_every_n_steps: Positive = 50  # steps from one logged point to the next
    gradient_clip_val: Annotated[float, Field(gt=0)] | None = None  # largest norm of the gradient; None: as it is
    accumulate_grad_batches: Positive = 1  # batches whose gradients make one step
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = 15.0  # between checkpoints within an epoch; None: none
    checkpoint_every_n_steps: Positive | None = None  # the same by steps
    compile: bool = False  # the network's blocks by torch.compile; for CUDA
    attention: Literal["cudnn", "flash", "efficient", "math"] | None = None  # tried first; None: PyTorch's own choice

    @model_validator(mode="after")
    def _judged_at_least_once(self) -> TrainerSettings:
        if self.check_val_every_n_epoch > self.max_epochs:
            raise ValueError(
                f"check_val_every_n_epoch={self.check_val_every_n_epoch} with max_epochs={self.max_epochs}: "
                "no epoch would be judged, and there would be no best checkpoint"
            )
        return self


class RollSettings(Section):
    """Circular shift along time."""

    do: bool = False  # shift clips
    shift_range: Positive = 50  # frames


class NormSettings(Section):
    """Mean and deviation that clips are normalised with; None takes the front end's own (the Discogs corpus)."""

    norm_mean: float | None = None  # log-mel; None: the front end's
    norm_std: Annotated[float, Field(gt=0)] | None = None  # log-mel; None: the front end's


class MaskingSettings(Section):
    """SpecAugment, drawn for each clip."""

    do: bool = True  # mask clips
    time_masks: Count = 20  # of a clip
    time_mask_param: Positive = 8  # frames
    freq_masks: Count = 8  # of a clip
    freq_mask_param: Positive = 5  # bands
    p: Share = 0.2  # no mask in time covers more than this share of the clip


class SamplerSettings(Section):
    """Balanced sampling of the tracks of an epoch."""

    sample_weight_offset: Annotated[float, Field(ge=0)] = 100.0  # added to the count of a class before it is inverted
    sample_weight_sum: bool = True  # a track's weight: the sum over its labels; False: the largest
    sampler_replace: bool = False  # whether a track may be drawn twice in an epoch
    epoch_len: Positive = 200_000  # draws; at most one per track without replacement


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
    group: str = "group"  # of the clips of a song, which probes judge together


class DatamoduleSettings(Section):
    """Audio or features, annotations, and how clips are cut from them."""

    base_dir: str | None = None  # audio folder, mel store or folder of upstream mels; None: the demo corpus
    groundtruth: str | None = None  # table, or "folders": a folder a class; None: tracks.* in or beside base_dir
    groundtruth_train: str | None = None  # upstream's pickles, one a split
    groundtruth_val: str | None = None  # the same for validation
    groundtruth_test: str | None = None  # the same for the test
    labels: str | None = None  # the classes: a text file with one a line, or a checkpoint; None: those of the table
    unknown_labels: Literal["refuse", "drop"] = "refuse"  # what becomes of labels that are not among `labels`
    max_left_out: Share = 1.0  # of tracks without audio, without labels or without the task's: more is an error
    min_tracks: Count = 0  # labels with fewer training tracks are left out
    merge_spellings: bool = True  # labels that differ in case, spaces or Unicode form alone are one
    separators: Annotated[str, Field(min_length=1)] = ";|"  # of the tags of a cell: any of these characters
    columns: ColumnsSettings = ColumnsSettings()
    splits: Literal["hashed", "stratified", "grouped"] | None = None  # None: the table's, hashed where it has none
    split_shares: Annotated[list[float], AfterValidator(lambda shares: list(check_shares(shares)))] = [
        0.8,
        0.1,
        0.1,
    ]  # in train, valid, test
    split_seed: Count = 0  # not the run's, so that training and probes with other seeds have the same splits
    task: Literal["auto"] | TaskName = "auto"  # auto: tagging where tracks have tags, else genre, else what there is
    demo_size: Literal["tiny", "small"] | Positive = (
        "small"  # without base_dir: pieces of the demo corpus; small: 1,000
    )
    store_dir: str | None = None  # where an audio folder's mels go; None: outputs/mels/<folder>-<hash>
    clip_length: Annotated[float, Field(gt=0)] | None = None  # seconds; None: what the network takes, or 10
    batch_size_train: Positive = 12  # clips, of one process
    batch_size_test: Positive = 20  # clips, of one process
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
        if given and self.base_dir is None:
            raise ValueError(
                f"{given}={getattr(self, given)} without base_dir: give the folder of its audio or features"
            )
        if self.jobs == 0:
            raise ValueError("jobs=0: give the number of processes, or -1 for one a core")
        return self


class ModelSettings(Section):
    """The network and its initial weights."""

    pretrained: str | None = None  # a release of models.releases to start from, downloaded once
    checkpoint: str | None = None  # a file, a run's folder or a Hugging Face folder to start from
    checkpoint_discard_head: bool = False  # leave the heads of those weights out
    positions: Literal["stretch", "crop"] = "stretch"  # of weights of another length: all resized, or the first taken
    missing_blocks: Literal["refuse", "random"] = "refuse"  # where the weights have fewer blocks than `depth`
    dim: Positive = 768  # values of a token
    depth: Positive = 12  # blocks
    heads: Positive = 12  # of attention, in every block
    stride_f: Positive = 10  # bands
    stride_t: Positive = 10  # frames
    distilled_type: Literal["mean", "separated"] = "mean"  # one head on the mean of CLS and DIST, or one each
    s_patchout_t: Count = 0  # columns of patches left out at random in training
    s_patchout_f: Count = 0  # rows of patches left out at random in training
    u_patchout: Count = 0  # single patches left out at random in training
    s_patchout_f_indices: list[Count] = []  # rows left out always
    s_patchout_f_interleaved: Count = 0  # one of so many rows is kept, always; 0: all
    s_patchout_t_indices: list[Count] = []  # columns left out always
    s_patchout_t_interleaved: Count = 0  # one of so many columns is kept, always; 0: all

    @model_validator(mode="after")
    def _one_source(self) -> ModelSettings:
        if self.pretrained and self.checkpoint:
            raise ValueError(f"pretrained={self.pretrained} and checkpoint={self.checkpoint}: give one of them")
        if self.dim % self.heads:
            raise ValueError(f"dim={self.dim} is not divisible by heads={self.heads}")
        return self


class OptimizerSettings(Section):
    """AdamW or Adam, and the learning-rate factor by epoch."""

    lr: Annotated[float, Field(gt=0)] = 2e-5  # largest learning rate
    adamw: bool = True  # False: Adam
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4  # of the optimiser
    schedule_mode: Literal["exp_lin", "cos_cyc"] = "exp_lin"  # exponential warm-up and linear ramp, or cosine cycles
    warm_up_len: Positive = 5  # epochs
    ramp_down_start: Count = 50  # epochs
    ramp_down_len: Positive = 50  # epochs
    last_lr_value: Share = 0.01  # of lr, after the ramp
    decay_all: bool = True  # False: no weight decay on biases, norms, tokens and positions
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # learning rate of a layer, times that of the next one


class ModuleSettings(Section):
    """Training of the network."""

    mixup_alpha: Annotated[float, Field(ge=0)] = 0.3  # of the Beta distribution; 0: off
    do_swa: bool | None = None  # mean of the weights at the start of some epochs; None: yes, but with ema_decay
    swa_epoch_start: Positive = 50  # the first: when so many epochs have begun
    swa_freq: Positive = 5  # epochs
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None  # moving average over steps instead, e.g. 0.9999
    freeze: Count | Literal["all"] = 0  # first blocks kept as they are, with patches and positions; all: but the heads
    optimizer: OptimizerSettings = OptimizerSettings()

    @model_validator(mode="after")
    def _one_average(self) -> ModuleSettings:
        if self.do_swa and self.ema_decay is not None:
            raise ValueError(
                f"do_swa=True and ema_decay={self.ema_decay}: a training keeps one average; set one to False or None"
            )
        return self


class DistillationSettings(Section):
    """A teacher besides the annotations: its logits, and how much and in which form they count."""

    logits: str | None = None  # a store of extract_logits, or its folder; None: no teacher
    targets: Literal["hard", "soft"] = "hard"  # zeros and ones, or probabilities
    threshold: Share = 0.45  # hard: 1 where the probability is larger; where none is, at the largest
    temperature: Annotated[float, Field(gt=0)] = 1.0  # soft: logits are divided by it
    weight: Share = 0.5  # of the teacher's loss; the rest is the annotations'
    patch: Literal["overlap", "mean"] = "overlap"  # of the teacher's: the one that shares most with the clip, or all
    max_missing: Share = 0.1  # of the training tracks may have no logits; they are left out

    @model_validator(mode="after")
    def _all_count(self) -> DistillationSettings:
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        set_ = [name for name in usual if getattr(self, name) != usual[name]]
        if self.logits is None and set_:
            raise ValueError(f"{set_[0]}={getattr(self, set_[0])} without logits: give a store of a teacher's logits")
        unread = {"hard": "temperature", "soft": "threshold"}[self.targets]
        if unread in set_:
            other = {"hard": "soft", "soft": "hard"}[self.targets]
            raise ValueError(f"{unread}={getattr(self, unread)} counts for {other} targets only: set targets={other}")
        return self


class PredictionSettings(Section):
    """A trained network, and audio that it is applied to."""

    checkpoint: str | None = None  # a file, a run's folder or a Hugging Face folder; None: a published network
    audio: str | None = None  # predict: a file or a folder
    out_dir: str | None = None  # None: of predict, with the run; outputs/embeddings/<folder>-<hash of what made them>
    overwrite: bool = False  # replace what is in out_dir and was made of another network, block or audio
    batch_size: Positive = 16  # windows
    threads: Positive | None = None  # of torch on a CPU; None: torch's own choice, one a core
    top: Positive = 10  # classes of a file in the ranking


class InferenceSettings(PredictionSettings):
    """Extraction and prediction with a trained network; without a checkpoint, that of model.pretrained."""

    random_weights: bool = False  # a network of the settings in `model` as it is before training, to compare with
    transformer_block: Count | Annotated[list[Count], Field(min_length=1)] | None = (
        None  # counted from 0, several as a list; None: 6, the paper's "block 7", of a shallower network the middle one
    )
    half_overlapped_inference: bool = False  # windows begin at half of the one before
    scheduler: str | None = None  # extraction: of a Dask cluster, whose workers compute, tcp://host:port
    labels: str | None = None  # predict: class names, a text file, JSON or a checkpoint, where the weights carry none


class ExportSettings(Section):
    """A trained network as a file for other programs."""

    format: Literal["onnx", "safetensors", "huggingface", "torch_export"] = "onnx"  # of the file
    path: str | None = None  # None: outputs/exports/<run or release>.<suffix>
    blocks: Annotated[list[Count], Field(min_length=1)] | None = None  # None: inference.transformer_block
    int8: bool = False  # onnx: weights of the linear layers in 8 bits, for onnxruntime on a CPU
    any_length: bool = False  # onnx, torch_export: clips up to the network's length, not of one length
    overwrite: bool = False  # replace the file

    @model_validator(mode="after")
    def _has_it(self) -> ExportSettings:
        if self.int8 and self.format != "onnx":
            raise ValueError(f"int8=True with format={self.format}: 8 bits are for format=onnx")
        for name in ("blocks", "any_length"):
            if getattr(self, name) and self.format not in ("onnx", "torch_export"):
                raise ValueError(f"{name} with format={self.format}: such a file holds the whole network, leave it out")
        return self


class PretrainSettings(Section):
    """`ex_pretrain.py`."""

    seed: Count = 0  # of everything random but the splits
    resume: bool = False  # continue the newest interrupted run with these settings
    trainer: TrainerSettings = TrainerSettings()
    datamodule: DatamoduleSettings = DatamoduleSettings()
    model: ModelSettings = ModelSettings()
    module: ModuleSettings = ModuleSettings()
    distillation: DistillationSettings = DistillationSettings()
    inference: InferenceSettings = InferenceSettings()
    export: ExportSettings = ExportSettings()
    tracking: TrackingSettings = TrackingSettings()


ROWS = ("embeddings", "mel statistics", "constant answer")  # of the table of probes


class EmbeddingsSettings(Section):
    """What the probes see."""

    store: str | None = None  # an embedding store of extract_embeddings, or the folder of those of several blocks
    name: str = ""  # of its encoder; empty: embeddings, and in the leaderboard the name of the store's folder
    compare: dict[str, str] = {}  # further ones to probe in the same way, by the name they get in the table
    answers: dict[str, str] = {}  # stores of answers that nothing is trained for, or folders of such, by their name
    baselines: list[Literal["mel_statistics", "constant"]] = ["mel_statistics", "constant"]  # rows that need no network
    blocks: list[Count] | None = None  # of a folder of several; None: all there are
    block_sum: bool = False  # a learned weighted sum of the blocks, as a row of its own
    tokens: Annotated[list[Literal["cls", "dist", "mean", "cls+dist", "all"]], Field(min_length=1)] = [
        "all"  # tokens that a vector has, side by side; each choice is a row of the table
    ]
    pooling: Annotated[list[Literal["mean", "max", "mean+std"]], Field(min_length=1)] = ["mean"]  # of the patches

    @model_validator(mode="after")
    def _names_differ(self) -> EmbeddingsSettings:
        if taken := sorted({*self.compare, *self.answers} & set(ROWS)):
            section = "compare" if taken[0] in self.compare else "answers"
            raise ValueError(
                f"{section}.{taken[0]}: {', '.join(ROWS)} are rows of the table already; choose another name"
            )
        if both := sorted(set(self.compare) & set(self.answers)):
            raise ValueError(f"compare.{both[0]} and answers.{both[0]}: one name for two rows; choose another")
        if self.name in ROWS[1:]:
            raise ValueError(f"name={self.name}: this is a row of the table already; choose another name")
        if self.name in {*self.compare, *self.answers}:
            section = "compare" if self.name in self.compare else "answers"
            raise ValueError(f"name={self.name} and {section}.{self.name}: one name for two rows; choose another")
        return self


class ProbeSettings(Section):
    """The probes, how one is chosen, and who computes."""

    tasks: Literal["auto"] | Annotated[list[TaskName], Field(min_length=1)] = (
        "auto"  # auto: what tracks are annotated for
    )
    grid: str = "quick"  # full: the 216 points of the literature; quick: a coarser one; single: one point
    axes: dict[str, list[bool | int | float | None | str] | bool | int | float | None | str] = {}  # changes of the grid
    max_steps: Positive | None = None  # no probe is trained for longer; it keeps its best weights
    seeds: Positive | list[Count] | None = None  # those listed, or so many from the run's on; None: the run's alone
    shots: Positive | None = None  # training tracks of every class; None: all
    train_share: Annotated[float, Field(gt=0, le=1)] | None = None  # of the training tracks
    jobs: int | None = None  # processes, -1: one a core; None: those of joblib.parallel_config, or one a core
    backend: str | None = None  # of joblib: loky, threading, ...; None: that of joblib.parallel_config, or loky
    scheduler: str | None = None  # of a Dask cluster: its workers train, tcp://host:port
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    tiles_dir: str = "outputs/sweeps"  # finished parts of sweeps, from which the same command goes on
    runs: bool = True  # a light run for every probe, grouped under that of the sweep
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
    inference: PredictionSettings = PredictionSettings()
    tracking: TrackingSettings = TrackingSettings()
