"""A linear probe of the embeddings while they are learned without labels, where some tracks have labels."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from datasets.clips import Windows
from datasets.examples import Examples
from datasets.store import Reader
from datasets.windows import Plan
from experiments import distributed
from experiments.errors import UserError
from experiments.probes.fitted import train_batch
from experiments.probes.grids import grid
from experiments.probes.validation import song_means
from experiments.probes.vectors import Split
from experiments.tasks import Task
from experiments.training.learner import Learner
from experiments.training.trainer import History
from experiments.windowing import Windowing
from models.probes import apply

PREFIX = "probe_"
STEPS = 1000  # of a probe, at most
WINDOWS = 3  # of a track, spread evenly, whose embeddings are averaged


class OnlineProbe(Callback):
    """Fits a linear probe before the training and every so many epochs; its metrics are logged as `val/probe_*`.

    The probe is that of `probe.grid=single`, with fewer steps. It sees nothing but embeddings, in evaluation mode and
    without gradients, and its random draws are its own: weights, batch statistics and random numbers of the training
    are what they would be without it. The embedding of a track is the mean over a few windows. Like any probe here it
    stops where it is best in validation, so its scores are a little better than those of a test.

    Args:
        task: Of the labels; one about whole tracks.
        splits: `train`, on which it is fitted, and `valid`, on which it is evaluated.
        features: Of the tracks.
        windowing: How the network's windows are cut.
        every: Epochs; it is fitted in the first validation from then on, and in the last one.
        batch_size: Windows at once.
        seed: Of the probe.

    Attributes:
        names: Of its metrics, that which it is chosen by first.

    Raises:
        UserError: The task cannot be scored on these tracks.
    """

    def __init__(
        self,
        task: Task,
        splits: Mapping[str, Examples],
        features: Reader,
        windowing: Windowing,
        every: int = 5,
        batch_size: int = 20,
        seed: int = 0,
    ) -> None:
        self.task, self.splits, self.every, self.batch_size, self.seed = task, splits, every, batch_size, seed
        plan, cut = Plan(windowing.rows, count=WINDOWS), {"hop": windowing.step, "frames": windowing.frames}
        self.windows = {
            name: Windows(features, one.stored, None, plan, **cut) for name, one in splits.items() if name != "test"
        }
        constant = self._metrics(np.zeros((len(splits["valid"]), task.n_outputs), np.float32))
        self.names = tuple(sorted(constant, key=lambda name: name != PREFIX + task.primary))

    def on_train_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        """The point that the curve begins with, of a training that begins: initial weights."""
        if trainer.global_step:
            return
        pl_module.eval()
        scores = {f"val/{name}": value for name, value in self.scores(trainer, pl_module).items()}
        pl_module.train()
        if trainer.logger is not None:
            trainer.logger.log_metrics(scores, step=0)
        for callback in trainer.callbacks:
            if isinstance(callback, History):
                callback.note(0, scores)

    def on_validation_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        """Forget the scores of an earlier validation, which this one may have none of."""
        for name in self.names:
            trainer.callback_metrics.pop(f"val/{name}", None)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Learner) -> None:
        """Fit, where it is time."""
        if trainer.state.fn == "fit" and self._due(trainer):
            scores = self.scores(trainer, pl_module)
            pl_module.log_dict({f"val/{name}": value for name, value in scores.items()})

    def _due(self, trainer: L.Trainer) -> bool:
        """A function of the epoch alone, so that a training that goes on fits in the same ones."""
        done = trainer.current_epoch + 1
        before = done - (trainer.check_val_every_n_epoch or 1)
        return done // self.every > before // self.every or done == trainer.max_epochs

    def scores(self, trainer: L.Trainer, learner: Learner) -> dict[str, float]:
        """Metrics of a probe of the network as it is, in evaluation mode; none where its embeddings are not finite."""
        vectors = {name: self._embedded(trainer, learner, windows) for name, windows in self.windows.items()}
        scores: dict[str, float] = {}
        if distributed.rank() == 0:
            try:
                scores = self._fitted(vectors)
            except UserError as error:
                rank_zero_warn(f"linear probe: {error}")
        return distributed.share(scores)

    def _embedded(self, trainer: L.Trainer, learner: Learner, windows: Windows) -> np.ndarray:
        """The embedding of every track, `[tracks, dim]` float32; every process has a share of the windows."""
        own = range(distributed.rank(), len(windows), distributed.world_size())
        layer, found = learner.net.default_layer, []
        for start in range(0, len(own), self.batch_size):
            items = [windows[number] for number in own[start : start + self.batch_size]]
            x = torch.from_numpy(np.stack([item["x"] for item in items])).to(learner.device)
            with torch.no_grad():  # before the first step: what a network keeps for itself must allow gradients
                x = learner.inputs(x)
                with trainer.precision_plugin.forward_context():
                    embeddings = learner.net.embed(x, [layer])[layer].mean(1).float().cpu().numpy()
            found += [(int(item["track"]), one) for item, one in zip(items, embeddings, strict=True)]
        joined = [pair for rank in distributed.gather(found) for pair in rank]
        tracks = np.array([track for track, _ in joined])
        return song_means(np.stack([one for _, one in joined]), tracks).astype(np.float32)

    def _fitted(self, vectors: Mapping[str, np.ndarray]) -> dict[str, float]:
        train, valid = (
            Split(vectors[name], self.splits[name].targets, list(self.splits[name].ids)) for name in ("train", "valid")
        )
        configs = dict(enumerate(grid("single", max_steps=STEPS)))
        with torch.inference_mode(False):
            (probe,) = train_batch(self.task, train, valid, configs, self.seed).values()
        if probe.failure:
            raise UserError(probe.failure)
        return self._metrics(apply.outputs(probe.weights, apply.scaled(valid.x, probe.mean, probe.scale)))

    def _metrics(self, outputs: np.ndarray) -> dict[str, float]:
        scores = self.task.score(self.task.decode(outputs), self.splits["valid"].targets)
        return {PREFIX + name: value for name, value in scores.items() if not name.startswith("n_")}
