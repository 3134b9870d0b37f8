"""Every named config of every script: it composes with the scales, and its system trains for two steps at debug sizes.

The systems of MAEST in `ex_pretrain.py` are trained in `test_named_configs.py`, which checks more of them. One that is
new is found here by itself.
"""

from __future__ import annotations

import csv
import hashlib
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments.configs import clmr_evaluation, maest, targets
from experiments.configs.catalogue import PRETRAIN, PROBE, TRANSFER, gather
from experiments.configs.named import NamedConfig
from experiments.tracking import overrides
from models.checkpoints import save_network
from models.fcn import FCN
from models.published_taggers import FILES, MAGNATAGATUNE

ROOT = Path(__file__).resolve().parents[1]
SCALES = ("demo", "debug", "mini_train")
WITH_WEIGHTS = "_inference"  # of published ones, which are not downloaded here
FEW = ["trainer.max_epochs=1", "trainer.limit_train_batches=2"]
DEMO_CORPUS = ["datamodule.base_dir=None", "datamodule.groundtruth=None"]
STORED = ["embeddings.store=stores", "embeddings.block=None", *DEMO_CORPUS, "probe.monitor=loss"]
OWN = {
    "mine": ["model.network=maest", "datamodule.clip_length=5"],
    "finetune": ["model.checkpoint=trained.safetensors"],
    **{name: DEMO_CORPUS for name in TRANSFER if name.endswith("_mtt")},
    **{name: ["model.network=clmr"] for name in clmr_evaluation.TRANSFER},
}


def scripts() -> dict:
    from ex_pretrain import ex as pretraining
    from ex_probe import ex as probing
    from ex_transfer import ex as transferring

    return {"ex_pretrain.py": pretraining, "ex_transfer.py": transferring, "ex_probe.py": probing}


def run(script: str, *arguments: str) -> dict:
    """Run a command in this process; its result."""
    return scripts()[script].run_commandline([str(ROOT / script), *arguments, "tracking.mongo=off"])


def trained(configs: dict[str, NamedConfig], *groups: str) -> list[str]:
    """Systems that are trained here, but those of some groups."""
    chosen = [name for name, config in configs.items() if config.system and config.group not in groups]
    chosen = [name for name in chosen if not configs[name].stands_for]
    return [name for name in chosen if not name.endswith(WITH_WEIGHTS)]


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tmp_path_factory):
    """A working directory with the embeddings of a network of random weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("systems"))
        patch.setenv("OSTINATO_CACHE", str(tiny_corpus.parents[1]))
        words = ["maest_5s_random_weights_pretrain", "debug", "random_network", "inference.out_dir=stores"]
        run("ex_pretrain.py", "extract_embeddings", "with", *words)
        save_network("trained.safetensors", FCN(n_classes=2, channels=[4] * 5), {"labels": ["one", "other"]})
        yield


def next_commands() -> list[list[str]]:
    """The words after `python` of the commands that the last run names at its end."""
    newest = max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    lines = re.findall(r"^next: python (.*)$", (newest / "run.log").read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def finite(result: dict) -> bool:
    return bool(result) and all(np.isfinite(value) for name, value in result.items() if name.startswith("val/loss"))


@pytest.mark.parametrize("name", trained(PRETRAIN, maest.TITLE))
def test_pretraining(name):
    result = run("ex_pretrain.py", "with", name, "debug", *FEW, *OWN.get(name, []))
    assert finite(result)
    assert "val/loss" in result


@pytest.mark.parametrize("name", trained(TRANSFER))
def test_transfer(name):
    stored = STORED if TRANSFER[name].group == targets.PROBE_TITLE else []
    result = run("ex_transfer.py", "with", name, "debug", *FEW, *stored, *OWN.get(name, []))
    assert finite(result)
    assert "val/loss" in result


@pytest.mark.parametrize(
    ("words", "folder"),
    [(["fcn"], "layer5"), (["mine", "model.network=tests.models.toys:Toy", "datamodule.input=audio"], "layer_clip")],
)
def test_what_to_run_next_runs_as_it_is_printed(words, folder):
    """Of a network that `ex_pretrain.py` has no named config for, and of one that is not in this project."""
    run("ex_transfer.py", "with", *words, "debug", *FEW, "datamodule.task=genre")
    applied, (script, *following) = next_commands()
    assert applied[:3] == ["ex_transfer.py", "predict", "with"]
    assert applied[-1] == "inference.audio=song.mp3"
    assert applied[3:-1] == following[2 : len(applied) - 2]
    result = run(script, *following, "inference.out_dir=next")
    assert result["written"] == 40
    (store,) = Path("next").iterdir()
    assert store.name == folder
    shutil.rmtree("next")


def test_a_published_file_whose_classes_are_known_is_evaluated(monkeypatch, tiny_corpus, capfd):
    """Tags of a corpus that the network does not know are refused, or dropped; those that it knows are scored."""
    state = {"spec.mel_scale.fb": torch.empty(0), **FCN().state_dict()}
    torch.save(state, "best_model.pth")
    with (tiny_corpus / "tracks.csv").open(newline="") as file:
        tags = sorted({tag for row in csv.DictReader(file) for tag in row["tags"].split(";") if tag})
    labels = tuple(dict.fromkeys((*tags, *MAGNATAGATUNE)))[:50]
    monkeypatch.setitem(FILES, hashlib.sha256(Path("best_model.pth").read_bytes()).hexdigest(), labels)
    words = ["evaluate", "with", "inference.checkpoint=best_model.pth", "datamodule.demo_size=tiny"]
    result = run("ex_transfer.py", *words, "datamodule.task=auto", "datamodule.batch_size_test=4")
    assert 0 < result["test/roc_auc"] < 1
    assert "the weights name no classes" not in capfd.readouterr().err


@pytest.mark.parametrize("name", [name for name in PROBE if name.startswith("probe_")])
def test_probes(name):
    few = ["probe.grid=single", "probe.max_steps=2", "probe.jobs=1", "datamodule.demo_size=tiny"]
    assert finite(run("ex_probe.py", "with", name, "embeddings.store=stores/block_01", *DEMO_CORPUS, *few))


@pytest.mark.parametrize("script", ["ex_pretrain.py", "ex_transfer.py"])
def test_scales_are_laid_over_every_system_wherever_they_stand(script):
    experiment = scripts()[script]
    for name in (name for name, config in experiment.named_configs.items() if config.system):
        for scale in SCALES:
            first, last = (
                overrides.compose(experiment.model, experiment.named_configs, [*words, *OWN.get(name, [])]).settings
                for words in ([scale, name], [name, scale])
            )
            assert first == last
            short = {"demo": first.trainer.max_epochs <= 60, "debug": first.trainer.limit_train_batches == 3}
            assert short.get(scale, first.trainer.limit_val_batches == 5)


@pytest.mark.parametrize("script", ["ex_pretrain.py", "ex_transfer.py"])
def test_debug_validates_every_epoch_over_demo_too(script):
    experiment = scripts()[script]
    for name in (name for name, config in experiment.named_configs.items() if config.system):
        words = [name, "demo", "debug", "trainer.max_epochs=1", *OWN.get(name, [])]
        composition = overrides.compose(experiment.model, experiment.named_configs, words)
        assert composition.settings.trainer.check_val_every_n_epoch == 1


def test_a_system_is_a_file_with_sizes_of_its_own():
    system = SimpleNamespace(
        __name__="experiments.configs.new",
        TITLE="New",
        PRETRAIN={"new_pretrain": NamedConfig("new", {"model": {"network": "new"}}, system=True)},
        SIZES={"new": {"debug": {"model": {"width": 2}}}},
    )
    scales = SimpleNamespace(
        __name__="experiments.configs.scales",
        TITLE="Scales",
        PRETRAIN={"debug": NamedConfig("small", {"seed": 1}, {"*": {"seed": 2}, None: {"seed": 3}})},
    )
    found = gather("PRETRAIN", [scales, system])
    assert list(found) == ["new_pretrain", "debug"]
    assert [found[name].group for name in found] == ["New", "Scales"]
    assert found["debug"].layers("new") == [{"seed": 1}, {"seed": 2}, {"model": {"width": 2}}]
    assert found["debug"].layers(None) == [{"seed": 1}, {"seed": 3}]
    assert gather("TRANSFER", [scales, system]) == {}
    with pytest.raises(ValueError, match="two named configs are called debug"):
        gather("PRETRAIN", [scales, scales])


def test_a_tagger_is_trained_and_evaluated_on_windows_of_another_length(capfd):
    few = ["debug", *FEW, "datamodule.clip_length=21"]
    run("ex_transfer.py", "with", "fcn", *few)
    assert "windows of 1,312 frames (21 s)" in capfd.readouterr().err
    newest = max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    words = [f"inference.checkpoint={newest}", "datamodule.demo_size=tiny", "inference.windows=2"]
    assert finite_scores(run("ex_transfer.py", "evaluate", "with", "fcn", "debug", *words))
    said = capfd.readouterr().err
    assert "windows of 1,312 frames (21 s)" in said
    assert "holds 16-bit samples" not in said  # as those that it was trained on
    with pytest.raises(SystemExit):
        run("ex_transfer.py", "with", "fcn", *few[:-1], "datamodule.clip_length=10")
    assert "needs at least 1280; set it to 20.48 or more" in capfd.readouterr().err


def finite_scores(result: dict) -> bool:
    return bool(result) and all(np.isfinite(value) for value in result.values())
