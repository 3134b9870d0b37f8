"""How a network is trained."""

# ruff: noqa: RUF012  # pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from experiments.settings.base import Count, Positive, Section, Share

OptimizerName = Literal["adamw", "adam", "sgd", "lars"]
ScheduleName = Literal["exp_lin", "cos_cyc", "exponential", "cyclic", "constant", "cosine", "plateau"]


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
    keep_every_n_epochs: Positive | None = None  # checkpoints that stay, epoch=1000.ckpt, ...; None: best and last
    compile: bool = False  # the network's blocks by torch.compile; for CUDA
    attention: Literal["cudnn", "flash", "efficient", "math"] | None = None  # tried first; None: PyTorch's own choice
    monitor: str | None = None  # decides which epoch is best; None: the loss; a metric such as ap; metric: the task's
    early_stopping: Positive | None = None  # validations without a better one that end the training; None: no end

    @model_validator(mode="after")
    def _validated_at_least_once(self) -> TrainerSettings:
        if self.check_val_every_n_epoch > self.max_epochs:
            raise ValueError(
                f"check_val_every_n_epoch={self.check_val_every_n_epoch} with max_epochs={self.max_epochs}: "
                "no epoch would be validated, and there would be no best checkpoint; "
                f"set trainer.check_val_every_n_epoch to {self.max_epochs} or less"
            )
        return self


class OptimizerSettings(Section):
    """The optimiser, and the learning-rate factor by epoch."""

    name: OptimizerName = "adamw"  # which one
    lr: Annotated[float, Field(gt=0)] = 2e-5  # largest learning rate
    adamw: bool = True  # older name: False stands for name=adam
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4  # of the optimiser
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # sgd, lars
    nesterov: bool = False  # sgd: look ahead along the momentum
    schedule_mode: ScheduleName = "exp_lin"  # how the rate changes; cosine: linear warm-up, then half a cosine
    warm_up_len: Positive = 5  # epochs
    ramp_down_start: Count = 50  # epochs
    ramp_down_len: Positive = 50  # epochs
    last_lr_value: Share = 0.01  # of lr, after the ramp; of plateau, the smallest
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.2  # plateau: of the rate, where validation gets no better
    plateau_patience: Count = 3  # plateau: validations that may be no better before
    decay_all: bool = True  # False: no weight decay on biases, norms, tokens and positions
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # learning rate of a layer, times that of the next one

    @model_validator(mode="after")
    def _one_name(self) -> OptimizerSettings:
        if not self.adamw and self.name not in ("adamw", "adam"):
            raise ValueError(f"adamw=False and name={self.name}: give the name alone")
        if self.nesterov and (self.kind != "sgd" or not self.momentum):
            raise ValueError("nesterov=True is for name=sgd with a momentum above 0")
        return self

    @property
    def kind(self) -> OptimizerName:
        """The name, also where the older setting says it."""
        return "adam" if not self.adamw else self.name


class PhaseSettings(Section):
    """A part of the training with an optimiser of its own; what is None is as in `module.optimizer`."""

    epochs: Positive  # its length
    start_from: Literal["last", "best"] = "last"  # best: it begins with the best checkpoint so far
    optimizer: OptimizerName | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    nesterov: bool = False
    schedule_mode: ScheduleName = "constant"  # its epochs and steps count from the beginning of the phase
    warm_up_len: Positive | None = None
    ramp_down_start: Count | None = None
    ramp_down_len: Positive | None = None
    last_lr_value: Share | None = None

    def over(self, usual: OptimizerSettings) -> OptimizerSettings:
        """The optimiser of the phase.

        Raises:
            ValidationError: Its settings contradict each other.
        """
        own = self.model_dump(exclude={"epochs", "start_from", "optimizer"}, exclude_none=True)
        merged = {**usual.model_dump(exclude_none=True), "name": usual.kind, "adamw": True, **own}
        return OptimizerSettings.model_validate(merged | ({"name": self.optimizer} if self.optimizer else {}))


class ModuleSettings(Section):
    """Training of the network."""

    objective: Literal["supervised", "contrastive"] = "supervised"  # what is learned: annotations, or to tell tracks
    mixup_alpha: Annotated[float, Field(ge=0)] = 0.3  # of the Beta distribution; 0: off
    do_swa: bool | None = None  # mean of the weights at the start of some epochs; None: yes, but with ema_decay
    swa_epoch_start: Positive = 50  # the first: when so many epochs have begun
    swa_freq: Positive = 5  # epochs
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None  # moving average over steps instead, e.g. 0.9999
    freeze: Count | Literal["all"] = 0  # first blocks kept as they are, with patches and positions; all: but the heads
    augmentations: list[dict[str, Any]] | None = None  # steps; None: datamodule.roll, mixup_alpha, datamodule.masking
    optimizer: OptimizerSettings = OptimizerSettings()
    phases: list[PhaseSettings] = []  # parts of the training, each with an optimiser; []: `optimizer` all along

    @model_validator(mode="after")
    def _one_average(self) -> ModuleSettings:
        if self.do_swa and self.ema_decay is not None:
            raise ValueError(
                f"do_swa=True and ema_decay={self.ema_decay}: a training keeps one average; set one to False or None"
            )
        return self

    @model_validator(mode="after")
    def _phases_fit(self) -> ModuleSettings:
        for number, phase in enumerate(self.phases):
            if number == 0 and phase.start_from == "best":
                raise ValueError("phases: the first one has no best checkpoint to start from")
            phase.over(self.optimizer)
        return self


class ContrastiveSettings(Section):
    """Contrastive learning, module.objective=contrastive: the loss and the projection head before it."""

    temperature: Annotated[float, Field(gt=0)] = 0.5  # cosines are divided by it
    hidden: Positive | None = None  # values of the projection's hidden layer; None: as many as an embedding has
    size: Positive = 64  # values of a projection
    views: Literal["crops", "masks"] = "crops"  # two crops of a track; masks: one crop, masked in two ways
    masked: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of a MAEST's patches that each view leaves out
    probe_every: Positive | None = 5  # epochs from one linear probe on labels, where there are some, to the next
    probe_tracks: Positive = 2000  # that it is fitted on and, as many, evaluated on, at most

    @model_validator(mode="after")
    def _views_differ(self) -> ContrastiveSettings:
        if self.views == "masks" and not self.masked:
            raise ValueError("views=masks: both views would be the same; say how much of each is masked, as masked=0.9")
        return self


class DistillationSettings(Section):
    """A teacher besides the annotations, or in their place: its logits, how much and in which form they count."""

    logits: str | None = None  # a store of extract_logits, or its folder; None: no teacher
    targets: Literal["hard", "soft"] = "hard"  # zeros and ones, or probabilities
    threshold: Share = 0.45  # hard: 1 where the probability is larger; where none is, at the largest
    temperature: Annotated[float, Field(gt=0)] = 1.0  # soft: logits are divided by it
    weight: Share = 0.5  # of the teacher's loss; the rest is the annotations', and where there are none, it is all
    window: Literal["overlap", "mean"] = "overlap"  # of the teacher's: which shares most with ours, or lie in it; all
    max_missing: Share = 0.1  # of the training tracks may have no logits; those are not trained on

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
