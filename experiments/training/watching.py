"""What is watched while a network is trained without labels: collapse, and a linear probe where there are labels."""

from __future__ import annotations

import math

from lightning.pytorch.callbacks import Callback

from datasets.corpus import CorpusError
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import PretrainSettings, TrainerSettings
from experiments.tracking import RunHandle
from experiments.tracks.data import is_annotated
from experiments.tracks.labelled import labelled_examples
from experiments.training.collapse import CollapseWatch
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.online_probe import PREFIX, OnlineProbe
from experiments.training.trainer import History, processes

UNFIT = ("metric", "alignment", "uniformity")  # there is no task; a collapse is best aligned; noise is most uniform


def watch(settings: PretrainSettings, learner: Learner, loaders: SplitLoaders, run: RunHandle) -> list[Callback]:
    """What watches a training; the objective learns which scores of a probe are drawn and shown.

    Raises:
        UserError: The best epoch is to be chosen by a probe that is not fitted at every validation.
    """
    trainer, objective = settings.trainer, learner.objective
    every = min(trainer.log_every_n_steps, loaders.steps_per_epoch(trainer, processes(trainer)))
    watching: list[Callback] = [CollapseWatch(max(every, 1), run)]
    probe = online_probe(settings, loaders, run)
    if probe:
        watching.append(probe)
        objective.panels = {**objective.panels, "linear probe": probe.names}
        objective.shown = (*objective.shown, probe.names[0])
    _check_monitor(settings, learner.monitor, probe)
    return watching


def online_probe(settings: PretrainSettings, loaders: SplitLoaders, run: RunHandle) -> OnlineProbe | None:
    """The probe of the settings; None where it is off, or where tracks have no labels that it could use.

    A training without labels does not end because of labels: why there is no probe is said in a line.
    """
    datamodule, every = settings.datamodule, settings.contrastive.probe_every
    if every is None:
        return None
    try:
        if not is_annotated(datamodule):
            say("no linear probe: no labels near the audio (a table tracks.csv there has some)")
            return None
        task, splits = labelled_examples(
            datamodule, loaders.audio_dir, loaders.features, loaders.splits, settings.contrastive.probe_tracks
        )
        probe = OnlineProbe(
            task, splits, loaders.features, loaders.windowing, every, datamodule.batch_size_test, run.seed
        )
    except (UserError, CorpusError) as error:
        say(f"no linear probe: {error}")
        return None
    sizes = {name: len(splits[name]) for name in ("train", "valid")}
    run.set_info(probe={"task": task.name, "classes": len(task.classes), "tracks": sizes, "every": every})
    say(
        f"linear probe of {task.name} before the training and {how_often(every, settings.trainer)}, fitted on "
        f"{sizes['train']} and evaluated on {sizes['valid']} labelled tracks; the training itself uses no labels"
    )
    return probe


def how_often(every: int, settings: TrainerSettings) -> str:
    """When a probe is fitted, in words: only validations have one."""
    validated = settings.check_val_every_n_epoch
    if every <= validated:
        return "every epoch" if validated == 1 else f"every {validated} epochs"
    after = f", in the next validation, one every {validated} epochs" if every % validated else ""
    return f"every {every} epochs{after}"


def _check_monitor(settings: PretrainSettings, monitor: str, probe: OnlineProbe | None) -> None:
    if monitor.startswith(tuple(f"val/{name}" for name in UNFIT)):
        raise UserError(
            f"trainer.monitor={monitor.removeprefix('val/')} does not tell which epoch of a training without labels is "
            "best: choose loss, top1 or rank, or a score of the linear probe such as probe_ap"
        )
    if not monitor.startswith(f"val/{PREFIX}"):
        return
    name = monitor.removeprefix("val/")
    if probe is None:
        raise UserError(f"trainer.monitor={name}: there is no linear probe; choose another value, or None for the loss")
    if settings.contrastive.probe_every > settings.trainer.check_val_every_n_epoch:
        raise UserError(
            f"trainer.monitor={name} is needed at every validation: set contrastive.probe_every="
            f"{settings.trainer.check_val_every_n_epoch}"
        )


def say_course(curves: History, shown: tuple[str, ...], steps: int, tracks: int) -> None:
    """Say from where to where the scores that are shown went.

    Args:
        curves: Of the training.
        shown: Names of the scores.
        steps: Of an epoch.
        tracks: For validation.
    """
    series = {name: curves.series.get(f"val/{name}", []) for name in shown}
    parts = [
        f"{name} {' to '.join(f'{value:.3g} {_when(step, steps)}' for step, value in (points[0], points[-1]))}"
        for name, points in series.items()
        if len(points) > 1
    ]
    if parts:
        say(f"on {pluralize(tracks, 'validation track')}: {', '.join(parts)}; curves.png")


def _when(step: int, steps: int) -> str:
    return f"(epoch {math.ceil(step / max(steps, 1))})" if step else "(before the training)"
