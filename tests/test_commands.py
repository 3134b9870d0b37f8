"""The commands a user types, on the tiny demo corpus laid out as a user's own folder and table."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Store

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["maest_5s_random_weights_pretrain", "debug", "tracking.mongo=off"]


def run(script: str, *arguments: str) -> dict:
    """Run a command in this process, as `python script arguments` would; its result."""
    from ex_pretrain import ex as pretrain
    from ex_probe import ex as probe

    experiment = {"ex_pretrain.py": pretrain, "ex_probe.py": probe}[script]
    return experiment.run_commandline([str(ROOT / script), *arguments])


def start(*arguments: str, cwd: Path) -> subprocess.Popen:
    """Start a command as a process of its own, in its own session."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process: subprocess.Popen, seconds: float = 240) -> None:
    """Poll until a condition holds; fail with the process's output when it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"ended or took too long: {process.communicate()[0][-3000:]}")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def own(tiny_corpus, tmp_path_factory):
    """A working directory with a user's music: a folder, a table with columns of its own, some surprises."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(tiny_corpus / "audio", folder / "music", ignore=shutil.ignore_patterns("*.beats"))
    (folder / "music" / "notes.mp3").write_text("not music")
    with (tiny_corpus / "tracks.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    unlabelled = rows.pop()
    with (folder / "labels.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["file", "split", "instruments", "style"])
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    "file": row["path"],
                    "split": row["split"],
                    "instruments": row["tags"].replace(";", "|"),
                    "style": row["genre"],
                }
            )
        writer.writerow({"file": "never/recorded.wav", "split": "train", "instruments": "kazoo", "style": "polka"})
    return folder, unlabelled["path"]


@pytest.fixture
def at_home(own, monkeypatch):
    """The working directory, entered."""
    monkeypatch.chdir(own[0])
    return own[0]


DATA = [
    "datamodule.base_dir=music",
    "datamodule.groundtruth=labels.csv",
    "datamodule.columns.tags=instruments",
    "datamodule.columns.genre=style",
]


@pytest.fixture(scope="module")
def trained(own):
    """The result of a training, and the folder of its run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(own[0])
        result = run("ex_pretrain.py", "with", *SMALL, *DATA, "trainer.checkpoint_dir=weights")
        (folder,) = (path.parent for path in Path("runs").resolve().glob("*/journal.jsonl"))
    return result, folder


def journal(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_training_leaves_metrics_checkpoints_pictures_and_a_completed_run(trained, own):
    result, folder = trained
    assert {"val/loss", "val/roc_auc", "test/ap", "test/n_items"} <= result.keys()
    assert all(np.isfinite(value) for value in result.values())
    assert (own[0] / "weights" / "best.ckpt").is_file()
    assert (own[0] / "weights" / "last.ckpt").is_file()
    records = journal(folder)
    assert records[-1]["kind"] == "end"
    assert records[-1]["status"] == "COMPLETED"
    names = {record["name"] for record in records if record["kind"] == "artifact"}
    assert {"curves.png", "throughput.png", "per_class_test.png", "per_class_test.csv", "predictions_test.csv"} <= names
    assert {"train/loss", "val/loss"} <= {record["name"] for record in records if record["kind"] == "metrics"}


def test_surprises_in_the_folder_and_the_table_are_named(trained, own):
    log = (trained[1] / "run.log").read_text()
    assert "1 track is labelled but not in music" in log
    assert "never/recorded.wav" in log
    assert own[1] in log
    assert "1 file skipped" in log
    (skipped,) = own[0].glob("outputs/mels/*/skipped.csv")
    assert "notes.mp3" in skipped.read_text()


def test_embeddings_of_several_blocks_then_a_probe(trained, at_home):
    result = run(
        "ex_pretrain.py",
        "extract_embeddings",
        "with",
        "inference.checkpoint=weights/best.ckpt",
        "inference.transformer_block=[0,1]",
        "inference.out_dir=embeddings",
        "tracking.mongo=off",
        *DATA[:1],
    )
    assert (result["written"], result["skipped"]) == (40, 0)
    first, second = Store("embeddings/block_00"), Store("embeddings/block_01")
    assert first.header.item_shape == (3, 32)
    assert first.header.fingerprint != second.header.fingerprint
    again = run(
        "ex_pretrain.py",
        "extract_embeddings",
        "with",
        "inference.checkpoint=weights/best.ckpt",
        "inference.transformer_block=[0,1]",
        "inference.out_dir=embeddings",
        "tracking.mongo=off",
        *DATA[:1],
    )
    assert (again["written"], again["already"]) == (0, 40)
    scores = run(
        "ex_probe.py", "with", "embeddings.store=embeddings/block_01", "probe.grid=single", "tracking.mongo=off", *DATA
    )
    assert {
        "tagging/embeddings/roc_auc",
        "genre/mel statistics/accuracy",
        "genre/majority class or mean/accuracy",
    } <= set(scores)


def test_f01_stored_embeddings_are_those_of_the_network(trained, at_home):
    import torch

    from models.checkpoints import load_any
    from models.frontends import MusiCNNMel
    from models.inputs import Inputs

    run(
        "ex_pretrain.py",
        "extract_embeddings",
        "with",
        "inference.checkpoint=weights",
        "inference.transformer_block=1",
        "inference.out_dir=single",
        "tracking.mongo=off",
        *DATA[:1],
    )
    (mels,) = Path("outputs/mels").iterdir()
    identity = Store(mels).ids[0]
    mel = Store(mels).read_crop(identity, 0, 312)
    network, _ = load_any("weights/best.ckpt")
    frontend = MusiCNNMel()
    x = Inputs(frontend, frontend.mean, frontend.std)(torch.from_numpy(mel))[None]
    with torch.inference_mode():
        expected = network.embed(x, ["block_01"])["block_01"][0].numpy()
    stored = Store("single/block_01").read(identity)
    assert stored.shape == (1, 3, 32)
    assert np.abs(stored[0] - expected).max() < 2e-3


def test_f24_real_recordings_of_every_kind_are_extracted_as_the_network_sees_them(at_home):
    import torch

    from models.frontends import MusiCNNMel
    from models.inputs import Inputs
    from models.maest import MAEST
    from preprocess import load

    clips = ROOT / "tests" / "data"
    settings = [*SMALL, "inference.random_weights=True", "inference.out_dir=real", f"datamodule.base_dir={clips}"]
    result = run("ex_pretrain.py", "extract_embeddings", "with", *settings, "seed=3")
    store = Store("real/block_01")
    assert result["skipped"] == 0
    assert len(store.ids) == result["written"] >= 5
    torch.manual_seed(3)
    network = MAEST(n_classes=2, n_frames=312, dim=32, depth=2, heads=2, s_patchout_t=15, s_patchout_f=2).eval()
    frontend = MusiCNNMel()
    for identity in store.ids:
        mel = frontend(torch.from_numpy(load(clips / identity, 16_000)))
        stored = store.read(identity)
        assert len(stored) == max(int((len(mel) - 0.9 * 312) // 312) + 1, 1)
        if len(mel) >= 312:
            with torch.inference_mode():
                x = Inputs(frontend, frontend.mean, frontend.std)(mel[:312])[None]
                first = network.embed(x, ["block_01"])["block_01"][0].numpy()
            assert np.abs(stored[0] - first).max() < 5e-3


def test_logits_and_predictions_agree_and_carry_the_labels(trained, at_home):
    run(
        "ex_pretrain.py",
        "extract_logits",
        "with",
        "inference.checkpoint=weights/best.ckpt",
        "inference.out_dir=logits",
        "tracking.mongo=off",
        *DATA[:1],
    )
    store = Store("logits/logits")
    identity = store.ids[0]
    run(
        "ex_pretrain.py",
        "predict",
        "with",
        "inference.checkpoint=weights/best.ckpt",
        f"inference.audio=music/{identity}",
        "inference.top=15",
        "tracking.mongo=off",
    )
    newest = max(Path("runs").glob("*/predictions.json"), key=lambda path: path.stat().st_mtime)
    (prediction,) = json.loads(newest.read_text())
    labels = store.header.producer["labels"]
    probabilities = 1 / (1 + np.exp(-store.read(identity).astype(float).mean(axis=0)))
    assert prediction["ranked"] == pytest.approx(dict(zip(labels, probabilities, strict=True)), abs=5e-3)
    assert list(prediction["ranked"].values()) == sorted(prediction["ranked"].values(), reverse=True)
    assert list(newest.parent.glob("over_time_00_*.png"))


def test_a_folder_with_a_bad_file_is_predicted_without_it(trained, at_home, capfd):
    identity = next(path.name for path in sorted(Path("music").iterdir()) if path.suffix != ".mp3")
    Path("mixed").mkdir()
    for name in (identity, "notes.mp3"):
        shutil.copy(f"music/{name}", "mixed")
    arguments = ["inference.checkpoint=weights", "inference.audio=mixed", "inference.top=2", "tracking.mongo=off"]
    assert run("ex_pretrain.py", "predict", "with", *arguments) == {"predicted": 1, "already": 0, "skipped": 1}
    shown = capfd.readouterr()
    assert shown.out.split("\n")[0] == f"mixed/{identity}"
    assert "skipped: mixed/notes.mp3" in shown.err
    assert "MPEG" not in shown.err
    newest = max(Path("runs").glob("*/predictions.csv"), key=lambda path: path.stat().st_mtime)
    with newest.open(newline="") as handle:
        assert {row["audio"] for row in csv.DictReader(handle)} == {f"mixed/{identity}"}


def test_a_mistake_does_not_cost_the_store_that_was_to_be_overwritten(trained, at_home, capfd):
    extract = ["extract_embeddings", "with", "debug", "inference.out_dir=kept", "tracking.mongo=off", DATA[0]]
    run("ex_pretrain.py", *extract, "inference.checkpoint=weights")
    before = Store("kept/block_01").header
    with pytest.raises(SystemExit):
        run("ex_pretrain.py", *extract, "inference.random_weights=True")
    assert "of another network" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        run(
            "ex_pretrain.py",
            *extract,
            "inference.random_weights=True",
            "inference.overwrite=True",
            "datamodule.groundtruth=x.csv",
        )
    assert Store("kept/block_01").header == before
    run("ex_pretrain.py", *extract, "inference.random_weights=True", "inference.overwrite=True")
    assert Store("kept/block_01").header != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "embeddings.store is not set"),
        (["embeddings.store=odd"], "there is odd/first"),
        (["embeddings.store=probed", "embeddings.blocks=[7]"], "probed has no block 7, there is 1"),
        (["embeddings.store=probed", "embeddings.blocks=[1]", "embeddings.block_sum=True"], "the folder of several"),
        (["embeddings.store=probed", "probe.axes.learning_rat=[1e-3]"], "did you mean 'learning_rate'"),
        (["embeddings.store=probed", "probe.axes.tokens=[cls]"], "embeddings.tokens=[cls,mean]"),
        (["embeddings.store=probed", "embeddings.tokens=[clss]"], "embeddings.tokens"),
        (["embeddings.store=probed", "probe.backend=lokyy"], "probe.backend=lokyy"),
        (["embeddings.store=probed", "probe.scheduler=127.0.0.1:1"], "probe.scheduler"),
        (["embeddings.store=probed", "embeddings.predictions.mine=nowhere"], "nowhere is no store of predictions"),
        (["embeddings.store=nowhere"], "nowhere is no store of embeddings"),
        (["demo"], "outputs/demo/pretrained/block_02 is no store of embeddings; make demo writes it"),
        (["embeddings.store=probed/block_01", "embeddings.compare.embeddings=x"], "rows of the table already"),
        (["embeddings.store=probed/block_01", "probe.grid=sngle"], "did you mean 'single'"),
        (["embeddings.store=probed/block_01", "probe.tasks=[]"], "probe.tasks=[]"),
        (
            ["embeddings.store=probed/block_01", "datamodule.columns.genre=genre", "probe.tasks=[genre]"],
            "no track of labels has genre",
        ),
        (["embeddings.store=probed/block_01", "datamodule.groundtruth=few.csv"], "no tracks in split valid and test"),
    ],
)
def test_mistakes_about_probes_are_named_before_anything_is_trained(trained, at_home, capfd, arguments, said):
    if not Path("probed").exists():
        store = ["inference.checkpoint=weights", "inference.out_dir=probed", "tracking.mongo=off", DATA[0]]
        run("ex_pretrain.py", "extract_embeddings", "with", "debug", *store)
        Path("odd").mkdir()
        Path("odd/first").symlink_to(Path("probed/block_01").absolute())
        rows = Path("labels.csv").read_text().splitlines()
        Path("few.csv").write_text("\n".join([rows[0], *(row for row in rows if ",train," in row)]))
    with pytest.raises(SystemExit):
        run("ex_probe.py", "with", "tracking.mongo=off", *DATA, *arguments)
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["with", *SMALL, "datamodule.base_dir=nowhere"], "datamodule.base_dir=nowhere: no such folder"),
        (["with", *SMALL, "datamodule.base_dir=empty"], "no audio"),
        (["with", *SMALL, DATA[0]], "no annotations"),
        (["with", *SMALL, *DATA[:2], "datamodule.columns.tags=moods"], "no column for tags (moods)"),
        (["with", *SMALL, *DATA, "model.s_patchout_f=9"], "patchout"),
        (["with", *SMALL, *DATA, "datamodule.clip_length=0.1"], "clip_length=0.1"),
        (["with", *SMALL, *DATA, "model.checkpoint=weights/best.ckpt", "model.dim=64"], "cls_token"),
        (["extract_embeddings", "with", *SMALL, DATA[0]], "no trained network is named"),
        (["extract_embeddings", "with", *SMALL, DATA[0], "inference.checkpoint=gone.ckpt"], "gone.ckpt: no such file"),
        (["extract_embeddings", "with", *SMALL, DATA[0], "inference.checkpoint=labels.csv"], "labels.csv"),
        (
            [
                "extract_embeddings",
                "with",
                *SMALL,
                DATA[0],
                "inference.checkpoint=weights",
                "inference.transformer_block=7",
            ],
            "blocks 0 to 1",
        ),
        (["predict", "with", *SMALL, "inference.checkpoint=weights"], "inference.audio is not set"),
        (["predict", "with", *SMALL, "inference.checkpoint=weights", "inference.audio=gone.mp3"], "gone.mp3"),
        (["predict", "with", *SMALL, "inference.checkpoint=weights", "inference.audio=music/notes.mp3"], "notes.mp3"),
        (["with", *SMALL, "datamodule.base_dir=labels.csv"], "labels.csv: a file"),
        (["with", *SMALL, DATA[1]], "without base_dir"),
        (["with", *SMALL, *DATA[:2]], "name its column with datamodule.columns.tags"),
        (["with", *SMALL, *DATA, "trainer.accelerator=mps"], "trainer.accelerator=mps: there is none"),
        (["with", *SMALL, *DATA, "model.distilled_type=separated"], "learns from a teacher"),
        (["with", *SMALL, *DATA, "module.optimizer.lr=1e9"], "the training diverged"),
        (
            ["extract_logits", "with", *SMALL, DATA[0], "inference.random_weights=True"],
            "an untrained network has no classes",
        ),
        (
            ["with", *SMALL, "trainer.check_val_every_n_epoch=3"],
            "no epoch would be validated, and there would be no best checkpoint; set trainer",
        ),
        (["with", *SMALL, "trainer.max_epoch=3"], "max_epochs"),
        (["with", *SMALL, "trainer.max_epochs=0"], "max_epochs"),
        (["with", "maest_30_pretrain"], "maest_30s_pretrain"),
    ],
)
def test_mistakes_are_named_in_one_paragraph(trained, at_home, capfd, arguments, said):
    (at_home / "empty").mkdir(exist_ok=True)
    with pytest.raises(SystemExit) as ended:
        run("ex_pretrain.py", *arguments)
    assert ended.value.code == 1
    shown = capfd.readouterr().err
    assert said in shown
    assert "error:" in shown
    assert "Traceback" not in shown


def test_features_of_another_front_end_are_refused(trained, at_home, capfd):
    from preprocess import build_store

    build_store("music", "other_mels", frontend="musicnn_torch", jobs=1, progress=False)
    with pytest.raises(SystemExit):
        run("ex_pretrain.py", "with", *SMALL, "datamodule.base_dir=other_mels", *DATA[1:])
    assert "other_mels holds mel of MusiCNN log-mel, the network takes those of" in capfd.readouterr().err


def test_a_killed_training_resumes_from_its_last_epoch(own, tmp_path):
    music = [f"datamodule.base_dir={own[0] / 'music'}", f"datamodule.groundtruth={own[0] / 'labels.csv'}", *DATA[2:]]
    command = ["ex_pretrain.py", "with", *SMALL, *music, "trainer.max_epochs=40", "trainer.checkpoint_dir=weights"]
    first = start(*command, cwd=tmp_path)
    wait_for((tmp_path / "weights" / "last.ckpt").is_file, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start(*command, "resume=True", cwd=tmp_path)
    said, _ = second.communicate(timeout=240)
    assert second.returncode == 0, said
    assert "resumed: runs/" in said
    assert "going on from weights/last.ckpt" in said
    assert len(list(tmp_path.glob("runs/*/journal.jsonl"))) == 1
    assert "epoch 40/40" in said
    assert "epoch 1/40" not in said


def test_an_interrupted_training_leaves_a_checkpoint_and_says_so(own, tmp_path):
    music = [f"datamodule.base_dir={own[0] / 'music'}", f"datamodule.groundtruth={own[0] / 'labels.csv'}", *DATA[2:]]
    process = start("ex_pretrain.py", "with", *SMALL, *music, "trainer.max_epochs=500", cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/*/checkpoints/last.ckpt")), process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 143, said
    (folder,) = (path.parent for path in tmp_path.glob("runs/*/journal.jsonl"))
    assert journal(folder)[-1]["status"] == "INTERRUPTED"
    from models.checkpoints import load_any

    cut = folder / "checkpoints" / "interrupted.ckpt"
    assert cut.is_file() == ("resume=True to go on" in said)  # between two epochs last.ckpt has it all
    _, about = load_any(cut if cut.is_file() else folder / "checkpoints" / "last.ckpt")
    assert about["task"] == "tagging"
