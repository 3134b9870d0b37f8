"""The learner: what reaches the network, what reaches the loss, what is evaluated."""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from datasets.examples import Examples
from datasets.store import Store, StoreWriter
from datasets.windows import Plan
from experiments.inference.extraction import header
from experiments.objectives import Supervised
from experiments.settings import DatamoduleSettings, ModuleSettings, TrainerSettings
from experiments.tasks import build
from experiments.training.learner import Learner, gathered
from experiments.training.loading import SplitLoaders
from experiments.training.phases import phases
from experiments.training.recipes import training_augmentations
from experiments.windowing import Windowing
from models.frontends import MusiCNNMel
from models.inputs import Inputs
from models.network import Network

FRAMES, BANDS = 20, 4


class Band(Network):
    """Logits from the mean level of each band: a task anybody can learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(BANDS))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.detach())
        return x.mean(dim=1) * self.scale


def learner(task_name="tagging", mixup_alpha=0.0, masking=False, **optimizer):
    task = build(task_name, classes=[f"band {band}" for band in range(BANDS)])
    module = ModuleSettings(mixup_alpha=mixup_alpha, optimizer={"lr": 0.1, "warm_up_len": 1, **optimizer})
    return Learner(
        Band(),
        Inputs(MusiCNNMel(), 2.0, 0.5),
        Supervised(task),
        {"network": {"n_frames": FRAMES}, "labels": list(task.classes)},
        phases(module),
        training_augmentations(module, DatamoduleSettings(masking={"do": masking})),
    )


@pytest.fixture
def clips(tmp_path):
    """Tracks of 15 to 90 frames whose loud band is their class."""
    generator = np.random.default_rng(0)
    ids = [f"{number}.ogg" for number in range(24)]
    classes = np.arange(24) % BANDS
    with StoreWriter(tmp_path / "mels", header("mel", (BANDS,), "level", {"made": "by hand"})) as writer:
        for identity, number in zip(ids, classes, strict=True):
            level = generator.normal(1.5, 0.2, (int(generator.integers(15, 90)), BANDS))
            level[:, number] += 1.5
            writer.append(identity, level.astype(np.float32))

    def make(one_hot=True, **settings):
        targets = np.eye(BANDS, dtype=np.float32)[classes] if one_hot else classes.astype(np.int64)
        splits = {
            name: Examples(tuple(ids[part]), tuple(ids[part]), targets[part])
            for name, part in (("train", slice(0, 12)), ("valid", slice(12, 18)), ("test", slice(16, 24)))
        }
        return SplitLoaders(
            DatamoduleSettings(batch_size_train=4, batch_size_test=3, **settings),
            Store(tmp_path / "mels"),
            splits,
            Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0),
            seed=0,
        )

    return make


def trainer(**settings):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", num_sanity_val_steps=0, use_distributed_sampler=False, **quiet, **settings)


def test_clips_reach_the_network_normalised_and_frame_by_frame():
    made = learner()
    mel = torch.rand(3, FRAMES, BANDS).half()
    made(made.prepared({"x": mel})["x"])
    (seen,) = made.net.seen
    assert seen.shape == (3, FRAMES, BANDS)
    assert torch.allclose(seen, (mel.float() - 2.0) / 1.0)


@pytest.mark.parametrize("one_hot", [True, False])
def test_it_learns_and_evaluates_whole_tracks(clips, one_hot):
    made, data = learner("tagging" if one_hot else "genre"), clips(one_hot)
    fit = trainer(max_epochs=20)
    fit.fit(made, data)
    assert float(fit.callback_metrics["train/loss"]) < 0.6
    fit.test(made, data, verbose=False)
    assert made.evaluation.scores[made.objective.task.primary] == 1.0
    assert made.evaluation.tracks.tolist() == list(range(8))
    assert made.evaluation.predictions.shape == (8, BANDS)


def test_a_track_is_the_mean_of_its_windows(clips):
    made, data = learner(), clips()
    with torch.no_grad():
        made.net.scale.fill_(1.0)
    judge = trainer()
    judge.test(made, data, verbose=False)
    loader = data.test_dataloader()
    windows = [loader.dataset[number] for number in range(len(loader.dataset))]
    x = made.prepared({"x": torch.from_numpy(np.stack([window["x"] for window in windows]))})["x"]
    probabilities = torch.sigmoid(made(x)).detach().numpy()
    owner = np.array([window["track"] for window in windows])
    for row, track in enumerate(made.evaluation.tracks):
        assert made.evaluation.predictions[row] == pytest.approx(probabilities[owner == track].mean(axis=0), abs=1e-6)


def test_mixup_mixes_clips_and_targets_alike():
    torch.manual_seed(0)
    made = learner(mixup_alpha=0.3)
    made.log = lambda *args, **kwargs: None
    levels = torch.eye(BANDS)[:, None, :].expand(-1, FRAMES, -1)
    captured = {}
    made.objective.task.loss = (
        lambda outputs, targets: captured.setdefault("targets", targets).sum() * 0 + outputs.sum()
    )
    made.training_step({"x": levels * 1.0 + 2.0, "target": torch.eye(BANDS)}, 0)
    mixed_clips = made.net.seen[0][:, 0]
    assert torch.allclose(mixed_clips, captured["targets"], atol=1e-6)
    assert not torch.equal(captured["targets"], torch.eye(BANDS))


def test_f11_masking_reaches_the_network():
    torch.manual_seed(0)
    made = learner(masking=True)
    made.log = lambda *args, **kwargs: None
    made.training_step({"x": torch.full((2, 200, BANDS), 5.0), "target": torch.eye(BANDS)[:2]}, 0)
    assert (made.net.seen[0] == 0).any()
    assert (made.net.seen[0] == 3).any()


def test_a_checkpoint_says_what_rebuilds_the_network(clips, tmp_path):
    made, data = learner(), clips()
    fit = trainer(max_epochs=1)
    fit.fit(made, data)
    fit.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert saved["hyper_parameters"] == {"network": {"n_frames": FRAMES}, "labels": [f"band {n}" for n in range(BANDS)]}
    assert set(saved["state_dict"]) == {"net.scale"}


def test_validation_that_cannot_be_scored_does_not_end_training(clips):
    made, data = learner(), clips()
    data.splits["valid"].targets[:] = 0
    fit = trainer(max_epochs=1)
    with pytest.warns(UserWarning, match="val"):
        fit.fit(made, data)
    assert "val/loss" in fit.callback_metrics


def test_f29_a_window_that_evens_out_the_shares_counts_once():
    """Neither in the loss nor in the mean of its track."""
    objective = learner().objective
    outputs, target = np.float32([[4, -4, 0, 0], [-4, 4, 0, 0], [0, 1, 1, 0]]), np.float32([[1, 0, 1, 0], [0, 1, 0, 1]])
    window, track = np.array([0, 1, 2, 0]), np.array([0, 0, 1, 0])
    kept = [{"outputs": outputs[window], "target": target[track], "track": track, "window": window}]
    evaluation = objective.evaluate(gathered(kept), None)
    expected = objective.task.loss(torch.from_numpy(outputs), torch.from_numpy(target[[0, 0, 1]]))
    assert evaluation.scores["loss"] == pytest.approx(float(expected))
    assert evaluation.predictions[0] == pytest.approx([0.5] * BANDS)
    assert evaluation.tracks.tolist() == [0, 1]


@pytest.mark.parametrize("epoch_len", [12, 10])
def test_gathered_batches_make_the_step_of_a_large_one(clips, epoch_len):
    """Of 12 draws two steps of 6; of 10, the last step is of 4 and counts as one whole step all the same."""
    weights = []
    for batch_size, steps in ((6, 1), (2, 3)):
        made, data = learner(), clips(sampler={"epoch_len": epoch_len})
        data.settings = data.settings.model_copy(update={"batch_size_train": batch_size})
        fit = trainer(max_epochs=2, accumulate_grad_batches=steps)
        fit.fit(made, data)
        assert fit.global_step == 4 == 2 * data.steps_per_epoch(TrainerSettings(accumulate_grad_batches=steps))
        weights.append(made.net.scale.detach().clone())
    assert torch.allclose(*weights, rtol=1e-4)


def test_gradients_are_clipped_by_their_norm(clips):
    made, before, after = learner(), [], []

    def norm() -> list[float]:
        return [] if made.net.scale.grad is None else [float(made.net.scale.grad.norm())]

    made.on_before_optimizer_step = lambda optimizer: before.extend(norm())
    made.on_before_zero_grad = lambda optimizer: after.extend(norm())  # what the step before left
    trainer(max_epochs=1, gradient_clip_val=1e-3).fit(made, clips())
    assert min(before) > 1e-3
    assert after == pytest.approx([1e-3] * 2, rel=1e-2)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_f14_training_and_validation_in_the_precisions_of_a_cpu(clips, precision):
    """Stored half-precision features reach the network in its own precision, outputs reach the metrics in float32."""
    made, data = learner(mixup_alpha=0.3, masking=True), clips()
    band, last = made.net, nn.Linear(BANDS, BANDS)
    made.net, given = nn.Sequential(band, last), set()
    last.register_forward_hook(lambda module, inputs, output: given.add(output.dtype))
    fit = trainer(max_epochs=2, precision=precision)
    fit.fit(made, data)
    (seen,) = {x.dtype for x in band.seen}
    assert seen == torch.float32
    assert given == {{"32-true": torch.float32, "bf16-mixed": torch.bfloat16}[precision]}
    assert last.weight.dtype == torch.float32
    assert torch.isfinite(fit.callback_metrics["val/loss"])
    fit.test(made, data, verbose=False)
    assert made.evaluation.predictions.dtype == np.float64


def test_an_average_is_evaluated_beside_the_network(clips):
    made, data = learner(), clips()
    other = Band()
    with torch.no_grad():
        other.scale.fill_(1.0)
    made.averaged_networks = {"_swa": other}
    fit = trainer()
    fit.validate(made, data, verbose=False)
    metrics = fit.callback_metrics
    assert metrics["val/loss"] == pytest.approx(np.log(2))  # a network of zeros
    assert metrics["val/loss_swa"] != metrics["val/loss"]
    assert {name.removesuffix("_swa") for name in metrics} == {name for name in metrics if not name.endswith("_swa")}
    assert len(other.seen) == 2
    fit.validate(made, data, verbose=False)
    assert len(other.seen) == 4


def test_the_test_is_of_the_average_where_a_checkpoint_has_one(clips, tmp_path):
    made, data = learner(), clips()
    judge = trainer()
    judge.test(made, data, verbose=False)
    content = {"state_dict": {"net.scale": torch.zeros(BANDS), "net_swa.scale": torch.ones(BANDS)}}
    torch.save({**content, "pytorch-lightning_version": L.__version__}, tmp_path / "both.ckpt")
    judge.test(made, data, ckpt_path=tmp_path / "both.ckpt", verbose=False, weights_only=True)
    assert made.averaged
    assert torch.equal(made.net.scale, torch.ones(BANDS))


def test_gradients_are_clipped_beside_the_fused_optimiser_in_mixed_precision(clips):
    norms = []

    class Watched(Learner):
        def on_before_optimizer_step(self, optimizer):
            assert optimizer.defaults["fused"]
            norms.append(self.net.scale.grad.norm().item())

        def optimizer_step(self, *arguments, **named):
            super().optimizer_step(*arguments, **named)
            norms.append(self.net.scale.grad.norm().item())

    made = learner()
    made.__class__ = Watched
    trainer(max_epochs=1, precision="bf16-mixed", gradient_clip_val=1e-3).fit(made, clips())
    before, after, *_ = norms
    assert before > 1e-2
    assert after == pytest.approx(1e-3, rel=1e-3)
