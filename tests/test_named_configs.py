"""Every named config through the real command, at reduced width and full length: it trains, or it extracts."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from datasets.store import Store
from experiments.configs import maest
from experiments.configs.catalogue import PRETRAIN, PROBE, TRANSFER
from experiments.settings import PretrainSettings
from experiments.tracking import overrides
from models.maest import MAEST
from models.releases import RELEASES

ROOT = Path(__file__).resolve().parents[1]
ALIASES = {name: config.stands_for for name, config in PRETRAIN.items() if config.stands_for}
SCALES = ("mini_train", "demo", "debug", "ddp")
TRAINED = [name for name in maest.PRETRAIN if name.endswith("_pretrain") and name not in ALIASES]
EXTRACTED = [name for name in maest.PRETRAIN if name.endswith("_inference") and name not in ALIASES]
WIDTH = {"dim": 32, "depth": 2, "heads": 2}  # of the config `debug`
FEW = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "datamodule.batch_size_test=10", "tracking.mongo=off"]


def settings(*words: str) -> PretrainSettings:
    return overrides.compose(PretrainSettings, PRETRAIN, words).settings


def run(*arguments: str) -> dict:
    """Run `python ex_pretrain.py ...` in this process; its result."""
    from ex_pretrain import ex

    return ex.run_commandline([str(ROOT / "ex_pretrain.py"), *arguments])


def extract(checkpoint: str, out_dir: str, *arguments: str) -> dict:
    """Store the logits of a trained network."""
    given = [f"inference.checkpoint={checkpoint}", f"inference.out_dir={out_dir}", "tracking.mongo=off"]
    return run("extract_logits", "with", "debug", *given, *arguments)


def published(name: str) -> dict[str, torch.Tensor]:
    """Random weights in the layout of a release, as narrow as `WIDTH`."""
    torch.manual_seed(len(name))
    release = RELEASES[name]
    if release.network:
        return MAEST(**WIDTH, **release.arguments).state_dict()
    state = MAEST(**WIDTH, n_classes=release.classes).state_dict()
    for key in [key for key in state if key.endswith("new_pos_embed") or key.startswith("head.")]:
        del state[key]
    state["pos_embed"] = torch.randn(1, 2 + 24 * 24, WIDTH["dim"])
    state["patch_embed.proj.weight"] = torch.randn(WIDTH["dim"], 3, 16, 16)
    state["head.weight"], state["head.bias"] = torch.randn(release.classes, WIDTH["dim"]), torch.randn(release.classes)
    return {"model": state}


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tmp_path_factory):
    """A working directory, and a cache that holds the demo corpus and narrow files in the place of every release."""
    folder = tmp_path_factory.mktemp("home")
    weights = tiny_corpus.parents[1] / "weights"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OSTINATO_CACHE", str(weights.parent))
        weights.mkdir(exist_ok=True)
        for name, release in [(name, one) for name, one in RELEASES.items() if not one.package]:
            file = weights / release.file
            torch.save(published(name), file)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            narrow = {**release.arguments, **WIDTH} if release.network else {}
            row = replace(release, url=f"file://{file}", sha256=digest, bytes=file.stat().st_size, arguments=narrow)
            patch.setitem(RELEASES, name, row)
        yield folder
    shutil.rmtree(weights)


@pytest.fixture(scope="module")
def teacher(home):
    """Logits of a trained network with classes of its own, in many windows a track."""
    run("with", "maest_5s_random_weights_pretrain", "debug", *FEW, "trainer.checkpoint_dir=teacher", "seed=5")
    extract("teacher", "taught", "datamodule.clip_length=1")
    return Store("taught/logits")


def test_what_the_paper_trained_and_published_has_a_config():
    lengths = [f"{seconds}s_from_passt" for seconds in (5, 10, 20, 30)]
    others = ["10s_random_weights", "10s_from_deit", "30s_from_passt_teacher_student", "30s_519l"]
    short = ["5s", "10s", "20s", "30s", "30s_teacher_student"]
    names = {f"maest_{system}_{kind}" for system in lengths + others + short for kind in ("pretrain", "inference")}
    assert names | {*SCALES, "target_mtt"} <= PRETRAIN.keys()
    networks = {name for name in RELEASES if name.startswith("discogs-maest")}
    assert {PRETRAIN[name].values["model"]["pretrained"] for name in EXTRACTED} == networks


def test_each_is_described_in_a_line(capsys):
    run("print_named_configs")
    shown = capsys.readouterr().out
    for name, config in PRETRAIN.items():
        assert re.search(rf"^  {name} +# {re.escape(config.description)}$", shown, re.MULTILINE)
    for config in (*PRETRAIN.values(), *TRANSFER.values(), *PROBE.values()):
        assert "\n" not in config.description
        assert 10 < len(config.description) < 130


def test_other_names_stand_for_the_long_ones():
    known = {f"maest_discogs_{seconds}sec_pretrain": f"maest_{seconds}s_from_passt_pretrain" for seconds in (5, 30)}
    known |= {"maest_30s_from_passt_infer": "maest_30s_from_passt_inference"}
    known |= {"maest_30s_teacher_student_pretrain": "maest_30s_from_passt_teacher_student_pretrain"}
    assert known.items() <= ALIASES.items()
    for other, full in ALIASES.items():
        assert full in PRETRAIN[other].description
        assert PRETRAIN[other].values is PRETRAIN[full].values


@pytest.mark.parametrize("scale", [*SCALES, "target_mtt", "maest_recipe_2025", "random_network"])
def test_scales_and_targets_compose_with_every_system_in_any_order(scale):
    for name in (*TRAINED, *EXTRACTED):
        given = settings(name, scale)
        assert given == settings(scale, name)
        wanted: dict = {}
        for layer in PRETRAIN[scale].layers("maest"):
            overrides.merge(wanted, layer)
        chosen = dict(overrides.flat(given.model_dump()))
        for key, value in overrides.flat(wanted):
            assert chosen[key] == value, key


@pytest.mark.parametrize("name", TRAINED)
def test_f08_training_sees_most_of_the_clip(name):
    given = settings(name)
    frames = int(given.datamodule.clip_length * 62.5)
    with torch.device("meta"):
        network = MAEST(**given.model.arguments, n_frames=frames)
    columns = {312: 30, 625: 61, 1250: 124, 1875: 186}[frames]
    assert network.count_tokens(training=True) == 6 * (columns - maest.LENGTHS[given.datamodule.clip_length]) + 2
    assert network.count_tokens(training=True) == {312: 92, 625: 188, 1250: 386, 1875: 578}[frames]


@pytest.mark.parametrize("name", TRAINED)
def test_it_trains(name, teacher, capfd):
    arguments = [f"distillation.logits={teacher.path}"] if "teacher_student" in name else []
    result = run("with", name, "debug", *FEW, f"trainer.checkpoint_dir=of_{name}", *arguments)
    given, said = settings(name), capfd.readouterr().err
    assert np.isfinite(result["val/loss"])
    assert "test/loss" not in result or np.isfinite(result["test/loss"])
    assert "test/roc_auc" in result
    start = given.model.pretrained
    assert ("weights from" in said) == (start is not None)
    assert start is None or f"weights from {start}" in said
    saved = torch.load(f"of_{name}/last.ckpt", weights_only=True)
    described = saved["hyper_parameters"]["network"]
    assert described["n_frames"] == int(given.datamodule.clip_length * 62.5)
    assert described["s_patchout_t"] == given.model.s_patchout_t > 0
    assert described["distilled_type"] == given.model.distilled_type
    if start and RELEASES[start].network:
        before = torch.load(Path(RELEASES[start].url.removeprefix("file://")), weights_only=True)["cls_token"]
        moved = (saved["state_dict"]["net.cls_token"] - before).abs().max()
        assert 0 < moved < 1e-3


def test_f10_a_student_learns_from_its_teacher_at_random_crops(teacher):
    name = "maest_30s_from_passt_teacher_student_pretrain"
    assert max(teacher.length(identity) for identity in teacher.ids) > 3
    run("with", name, "debug", *FEW, f"distillation.logits={teacher.path.parent}", "trainer.checkpoint_dir=student")
    saved = torch.load("student/last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["teacher"]["labels"] == teacher.header.producer["labels"]
    assert saved["hyper_parameters"]["teacher"]["logits"] == teacher.header.fingerprint
    newest = max(Path("runs").glob("*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    records = [json.loads(line) for line in newest.read_text().splitlines()]
    metrics = {record["name"] for record in records if record["kind"] == "metrics"}
    assert {"train/loss", "train/loss_labels", "train/loss_teacher", "val/loss", "val/loss_teacher"} <= metrics
    extract("student", "pupil")
    assert Store("pupil/logits").header.item_shape == (len(saved["hyper_parameters"]["labels"]),)


def test_any_config_has_a_student_with_one_head_too(teacher, capfd):
    given = ["maest_5s_random_weights_pretrain", "debug", *FEW, f"distillation.logits={teacher.path}"]
    result = run("with", *given, "distillation.targets=soft", "distillation.temperature=2", "distillation.window=mean")
    assert np.isfinite(result["val/loss_teacher"])
    assert "soft targets" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "learns from a teacher, and none is named; give the logits of one, distillation.logits=STORE"),
        (["distillation.logits=gone"], "distillation.logits=gone: no store at gone"),
        (["distillation.logits=taught/mels"], "holds mel, logits is needed"),
        (["distillation.weight=0.3"], "weight=0.3 without logits"),
        (["distillation.logits=taught", "distillation.temperature=3"], "temperature=3.0 counts for soft targets only"),
        (["distillation.logits=taught", "distillation.target=soft"], "targets"),
        (
            ["distillation.logits=taught", "model.distilled_type=mean", "datamodule.task=genre"],
            "logits of the task tagging, the student's is genre",
        ),
    ],
)
def test_mistakes_about_teachers_are_named_before_anything_is_computed(teacher, tiny_mels, capfd, arguments, said):
    if not Path("taught/mels").exists():
        shutil.copytree(tiny_mels, "taught/mels")
    with pytest.raises(SystemExit):
        run("with", "maest_30s_teacher_student_pretrain", "debug", *FEW, *arguments)
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_the_last_line_of_an_extraction_of_logits_is_the_command_of_its_student(teacher, capfd):
    extract("teacher", "more")
    said = capfd.readouterr().err
    (command,) = re.findall(r"^next: python ex_pretrain.py (with .*)$", said, re.MULTILINE)
    name, logits, *data = command.split()[1:]
    assert name in PRETRAIN
    assert logits == "distillation.logits=more/logits"
    assert settings(name, logits, *data).datamodule.demo_size == "tiny"


@pytest.mark.parametrize("name", EXTRACTED)
def test_it_extracts(name, capfd):
    result = run("extract_embeddings", "with", name, "debug", f"inference.out_dir=of_{name}", "tracking.mongo=off")
    release = RELEASES[PRETRAIN[name].values["model"]["pretrained"]]
    store = Store(f"of_{name}/block_01")
    assert (result["written"], result["skipped"]) == (40, 0)
    assert store.header.item_shape == (3, WIDTH["dim"])
    assert store.header.producer["window_frames"] == release.frames
    assert store.header.producer["network"]["n_classes"] == release.classes
    assert store.header.producer["weights"] == f"sha256 {release.sha256[:16]}"


def test_f10_the_weights_of_an_inference_config_are_the_published_ones():
    for name in EXTRACTED:
        assert settings(name).model.pretrained in RELEASES
    student = settings("maest_30s_teacher_student_inference").model
    assert (student.pretrained, student.distilled_type) == ("discogs-maest-30s-pw-73e-ts", "separated")
    for name in TRAINED:
        assert (settings(name).model.pretrained is None) == ("random_weights" in name)


def test_todays_recipe_is_reached_by_settings():
    given = settings("maest_20s_pretrain", "maest_recipe_2025")
    assert (given.model.s_patchout_f, given.model.s_patchout_t) == (0, 60)
    assert not given.datamodule.masking.do
    first = settings("maest_20s_pretrain")
    assert (first.model.s_patchout_f, first.datamodule.masking.do) == (3, True)


def test_f30_networks_are_written_down_once():
    for name, release in RELEASES.items():
        if name.startswith("discogs-maest"):
            with torch.device("meta"):
                assert MAEST(**release.arguments).n_bands == 96
    values = [repr(PRETRAIN[name].values) for name in (*TRAINED, *EXTRACTED)]
    assert len(set(values)) == len(values)
    with pytest.raises(ValidationError):
        PretrainSettings(model={"n_bands": 128})
