"""Which decoder makes beats of a network's outputs: peaks while it is trained, then what validation finds better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import RhythmSettings
from experiments.settings.rhythm import USUAL, Decoder
from experiments.tasks.base import Task
from experiments.tasks.beats import BeatTracking
from experiments.training.learner import Learner
from models.descriptions import DECODER
from models.layouts import load_pickled, write_pickled

COMPARED: tuple[Decoder, ...] = (USUAL, "dbn")  # those that see the whole of a recording


def check(rhythm: RhythmSettings) -> None:
    """Refuse settings that mean nothing where many recordings are evaluated.

    Raises:
        UserError: Beats are pinned, or something is set that no decoder in use reads.
    """
    if rhythm.pinned:
        raise UserError(f"rhythm.pinned={rhythm.pinned} is for one recording, inference.audio of predict: leave it out")
    rhythm.check_read(rhythm.decoders(COMPARED))


def check_task(rhythm: RhythmSettings, task: Task, what: str) -> None:
    """Refuse settings that mean nothing to a task that makes no beats.

    Raises:
        UserError: One is given, and has no effect on `what` of this task.
    """
    if not isinstance(task, BeatTracking):
        rhythm.check_unread(f"{what} of the task {task.name}")


def in_the_loop(task: Task, rhythm: RhythmSettings) -> Task:
    """A task about beats with the decoder of validations during training, which is quick; any other as it is."""
    return task.decoded_by(rhythm.decoding(USUAL)) if isinstance(task, BeatTracking) else task


def compared(rhythm: RhythmSettings, best: Decoder | None = None) -> tuple[Decoder, ...]:
    """The decoders of a test, the first of which gives the scores of the run.

    Args:
        rhythm: Names them; where it does not, all that see the whole of a recording, the best one first.
        best: The one that was better in validation.
    """
    return rhythm.decoders(tuple(dict.fromkeys([*([best] if best else []), *COMPARED])))


def in_the_test(task: Task, rhythm: RhythmSettings, best: Decoder | None) -> Task:
    """A task about beats with the first decoder of `compared`; any other as it is."""
    return task.decoded_by(rhythm.decoding(compared(rhythm, best)[0])) if isinstance(task, BeatTracking) else task


def choose(
    learner: Learner, data: L.LightningDataModule, trainer: L.Trainer, rhythm: RhythmSettings, checkpoint: Path
) -> Decoder | None:
    """Compare decoders on the validation split with the best network, and note the better one in its checkpoint, and by
    how much the network is late.

    Args:
        learner: That was trained.
        data: Its splits.
        trainer: That trained it.
        rhythm: The decoders to choose from; None named: peaks and the bar model.
        checkpoint: Of the best network.

    Returns:
        The decoder; None where the task is not about beats.
    """
    task = learner.objective.task
    if not isinstance(task, BeatTracking):
        return None
    decoders, tolerant = rhythm.decoders(COMPARED), type(task) is BeatTracking
    best, scores = decoders[0], {}
    if len(decoders) > 1 or tolerant:
        loggers, trainer.loggers = trainer.loggers, []  # the curves are of the training
        trainer.validate(learner, data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        trainer.loggers = loggers
        found = learner.evaluation
        if found is not None and not found.problem:
            if tolerant:
                task.measure_delay(found.predictions, found.references)
            for decoder in decoders:
                decoded = task.decoded_by(rhythm.decoding(decoder))
                scores[decoder] = decoded.primary_score(found.predictions, found.references)
            best = max(scores, key=scores.__getitem__)
    if trainer.is_global_zero:
        content = load_pickled(checkpoint)
        content[learner.CHECKPOINT_HYPER_PARAMS_KEY] |= {DECODER: best, **_options(task)}
        write_pickled(checkpoint, content)
        if len(scores) > 1:
            compared = ", ".join(f"{decoder} {score:.4g}" for decoder, score in scores.items())
            say(f"decoder of the best network in validation, by {task.primary}: {compared}; {best} is noted with it")
        if task.delay:
            say(f"peaks are {1000 * task.delay:.0f} ms late in validation: this is taken off all beats")
    trainer.strategy.barrier()
    return best


def _options(task: BeatTracking) -> dict[str, dict[str, Any]]:
    """What a file says of the task, where it has any options."""
    return {"options": dict(task.options)} if task.options else {}
