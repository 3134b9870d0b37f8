"""`export` as a user types it: files that other programs open, compared, described, and never half there."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from experiments.encoder import Encoder
from experiments.export.cards import _without_places, card
from models.checkpoints import load_any, save_network
from models.errors import ExportError
from models.export import example
from models.fcn import FCN
from models.frontends import build
from models.frontends.musicnn import HOP, MusiCNNMel
from models.maest import MAEST
from models.onnx_sessions import open_onnx, read_properties
from models.programs import open_program
from models.published_taggers import FILES
from models.releases import MAEST_LICENCE
from preprocess.decode import load
from tests.peers import peer

SOUND = Path(__file__).parents[2] / "data" / "super_polka.ogg"
LABELS = ["polka", "waltz", "märz"]
NORMALISATION = (1.9, 1.1)
FRAMES = 312


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """What a training leaves: a checkpoint, and the settings it had."""
    torch.manual_seed(0)
    network = MAEST(n_classes=len(LABELS), n_frames=FRAMES, dim=32, depth=2, heads=2)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("runs") / "20260101-000000-abcdef"
    (folder / "checkpoints").mkdir(parents=True)
    header = {
        "network": dict(network.hyperparameters),
        "task": "tagging",
        "labels": LABELS,
        "frontend": MusiCNNMel().fingerprint,
        "normalisation": list(NORMALISATION),
    }
    state = {f"net.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": header}, folder / "checkpoints" / "best.ckpt")
    config = {
        "seed": 7,
        "model": {"dim": 32, "pretrained": "discogs-maest-10s-pw-129e"},
        "datamodule": {"base_dir": "/home/someone/music", "clip_length": 5.0},
        "tracking": {"mongo_url": "mongodb://somewhere"},
    }
    start = {"seq": 1, "time": 0.0, "kind": "start", "document": {"config": config}}
    (folder / "journal.jsonl").write_text(json.dumps(start) + "\n")
    return folder


@pytest.fixture
def export(run_folder, tmp_path, monkeypatch):
    """Runs the command in a folder of its own."""
    from ex_pretrain import ex

    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> dict:
        named = () if any(word.startswith("inference.checkpoint") for word in words) else (run_folder,)
        given = [f"inference.checkpoint={folder}" for folder in named]
        return ex.run_commandline(["ex_pretrain.py", "export", "with", *given, *words, "tracking.mongo=off"])

    return command


def refused(capsys, command, *words: str) -> str:
    """What a command that ends with exit code 1 says in its last lines."""
    with pytest.raises(SystemExit):
        command(*words)
    return capsys.readouterr().err


def eager(run_folder: Path, audio: torch.Tensor, blocks: list[int]):
    """What `predict` computes for audio of one window."""
    network, _ = load_any(run_folder / "checkpoints" / "best.ckpt")
    mel = MusiCNNMel()(audio)[:, : audio.shape[1] // HOP]
    mean, std = NORMALISATION
    with torch.inference_mode():
        logits, tokens = network.forward_and_embed((mel - mean) / (2 * std), [network.layer_names[b] for b in blocks])
    return logits.numpy(), np.stack([tokens[network.layer_names[block]].numpy() for block in blocks], 1)


def clip(frames: int) -> torch.Tensor:
    return torch.from_numpy(load(SOUND, 16_000))[None, : frames * HOP].contiguous()


def predicted(run_folder: Path, folder: Path) -> list[float]:
    """The probabilities that `predict` gives for a file of 200 frames."""
    from ex_pretrain import ex

    sound = folder / "clip.wav"
    soundfile.write(sound, clip(200)[0].numpy(), 16_000, subtype="FLOAT")
    words = [f"inference.checkpoint={run_folder}", f"inference.audio={sound}", "inference.out_dir=predicted"]
    ex.run_commandline(
        ["ex_pretrain.py", "predict", "with", *words, "datamodule.clip_length=3.2", "tracking.mongo=off"]
    )
    with (folder / "predicted" / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    return [float(row[label]) for label in LABELS]


def test_onnx_of_shorter_clips(export, run_folder, tmp_path, capsys):
    result = export("datamodule.clip_length=3.2", "export.blocks=[1,0]")
    file = tmp_path / "outputs/exports/20260101-000000-abcdef.onnx"
    assert result["bytes"] == file.stat().st_size
    assert max(result["logits_difference"], result["embeddings_difference"]) < 1e-4
    logits, embeddings = open_onnx(file, 1).run(None, {"audio": clip(200).numpy()})
    wanted, tokens = eager(run_folder, clip(200), [1, 0])
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(embeddings, tokens, rtol=0, atol=1e-4)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[0])), predicted(run_folder, tmp_path), rtol=0, atol=1e-4)
    about = read_properties(file)
    assert json.loads(about["labels"]) == LABELS
    assert about["frontend"] == MusiCNNMel().fingerprint
    assert json.loads(about["front_end"]) == MusiCNNMel().parameters_dict
    assert (about["sample_rate"], about["clip_samples"], about["blocks"]) == ("16000", str(200 * HOP), "[1, 0]")
    assert json.loads(about["normalisation"]) == list(NORMALISATION)
    assert about["licence"].endswith(f"started from discogs-maest-10s-pw-129e ({MAEST_LICENCE})")
    training = json.loads(about["training"])
    assert training["seed"] == 7
    assert training["datamodule"] == {"base_dir": None, "clip_length": 5.0}
    assert "someone" not in str(about)
    assert "mongodb" not in str(about)
    said = capsys.readouterr().out
    assert "licence: the weights are their owner's" in said
    assert "'audio': clips" in said


def test_onnx_in_eight_bits(export, tmp_path, capsys):
    result = export("export.int8=True", "export.path=small/net.onnx")
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["net.onnx"]
    assert 0 < result["logits_error"] < 0.1
    assert "of their spread" in capsys.readouterr().out


def test_a_program(export, run_folder, tmp_path):
    assert export("export.format=torch_export", "export.blocks=[0]")["logits_difference"] < 1e-5
    program, about = open_program(tmp_path / "outputs/exports/20260101-000000-abcdef.pt2")
    assert json.loads(about["labels"]) == LABELS
    for ours, wanted in zip(program(clip(FRAMES)), eager(run_folder, clip(FRAMES), [0]), strict=True):
        np.testing.assert_allclose(ours.numpy(), wanted, rtol=0, atol=1e-5)


def test_safetensors_and_a_second_generation(export, tmp_path, capsys):
    assert export("export.format=safetensors")["logits_difference"] == 0
    file = tmp_path / "outputs/exports/20260101-000000-abcdef.safetensors"
    _, about = load_any(file)
    assert about["labels"] == LABELS
    assert about["training"]["model"]["dim"] == 32
    refusal = refused(capsys, export, "export.format=safetensors")
    assert "is there already: replace it with export.overwrite=True" in refusal
    before = file.read_bytes()
    again = (
        "export.format=safetensors",
        f"inference.checkpoint={file}",
        f"export.path={file}",
        "export.overwrite=True",
    )
    export(*again)
    assert load_any(file)[1] == {**about, "weights": load_any(file)[1]["weights"]}
    assert before != file.read_bytes()


def test_a_hugging_face_folder(export, tmp_path, capsys):
    transformers = peer("transformers")
    assert export("export.format=huggingface", "export.path=ast")["logits_difference"] < 1e-4
    model = transformers.ASTForAudioClassification.from_pretrained(tmp_path / "ast")
    assert list(model.config.id2label.values()) == LABELS
    assert "is there already" in refused(capsys, export, "export.format=huggingface", "export.path=ast")
    (tmp_path / "ast" / "README.md").write_text("mine")
    export("export.format=huggingface", "export.path=ast", "export.overwrite=True")
    assert (tmp_path / "ast" / "README.md").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".ast")]
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.mp3").touch()
    words = ("export.format=huggingface", "export.path=music", "export.overwrite=True")
    assert "something else of that name" in refused(capsys, export, *words)
    assert (tmp_path / "music" / "song.mp3").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export.format=tflite"], "'onnx', 'safetensors', 'huggingface' or 'torch_export'"),
        (["export.path=net.pt"], "ends in .onnx"),
        (["export.blocks=[2]"], "this network has the blocks 0 to 1"),
        (["export.int8=True", "export.format=safetensors"], "8 bits are for format=onnx"),
        (["export.blocks=[0]", "export.format=huggingface"], "holds the whole network"),
        (["datamodule.clip_length=30"], "this network takes up to 312"),
        (["inference.random_weights=True"], "untrained"),
        (["inference.checkpoint=gone.ckpt"], "no such file"),
    ],
)
def test_mistakes_are_said_and_nothing_is_left(export, tmp_path, capsys, words, told):
    assert told in refused(capsys, export, *words)
    assert not (tmp_path / "outputs").exists()


def test_missing_packages_are_named(export, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else found(name, *rest))
    assert "needs onnx: pip install" in refused(capsys, export)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ExportError("out of room")])
def test_what_is_interrupted_leaves_the_old_file(export, tmp_path, monkeypatch, error):
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"old")

    def fail(path, network, *about):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr("experiments.export.formats.save_network", fail)
    with pytest.raises(SystemExit):
        export("export.format=safetensors", "export.path=net.safetensors", "export.overwrite=True")
    assert file.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "runs") == ["net.safetensors"]


def test_a_file_that_differs_is_not_kept(export, tmp_path, monkeypatch, capsys):
    def wrong(path, network, *about):
        with torch.no_grad():
            network.head[1].bias.add_(1)
            save_network(path, network, *about)
            network.head[1].bias.sub_(1)

    monkeypatch.setattr("experiments.export.formats.save_network", wrong)
    assert "the exported network differs by" in refused(capsys, export, "export.format=safetensors")
    assert not list((tmp_path / "outputs/exports").iterdir())


def test_the_audio_that_files_are_compared_on_is_loud_and_always_the_same():
    audio = example(2, 16_000, 16_000)
    assert torch.equal(audio, example(2, 16_000, 16_000))
    assert 0.2 < float(audio.abs().max()) < 1
    assert not torch.equal(audio[0], audio[1])


def test_places_are_not_told():
    assert _without_places({"a": ["/x", "~me", "C:\\x", "tags", 3]}) == {"a": [None, None, None, "tags", 3]}


def test_windows_of_any_length_of_a_network_whose_own_is_no_whole_number_of_frames(export, tmp_path):
    torch.manual_seed(0)
    network = FCN(n_classes=3, channels=[4] * 5).eval()
    save_network(tmp_path / "fcn.safetensors", network, {"labels": LABELS, "task": "tagging"}, build("mel_db"))
    export("inference.checkpoint=fcn.safetensors", "export.any_length=True", "export.path=fcn.onnx")
    session = open_onnx(Path("fcn.onnx"), 1)
    for samples in (400_128, 463_872):
        audio = example(1, samples, 16_000)
        logits, _ = session.run(None, {"audio": audio.numpy()})
        with torch.inference_mode():
            expected = network(build("mel_db")(audio))
        assert np.abs(logits - expected.numpy()).max() < 1e-3


def test_a_published_file_has_the_licence_that_is_known_of_it(tmp_path, monkeypatch):
    file = tmp_path / "best_model.pth"
    network = FCN(n_classes=3)
    torch.save(network.state_dict(), file)
    encoder = Encoder.of(network)
    assert card(encoder, str(file), None)["licence"] == "the weights are their owner's"
    monkeypatch.setitem(FILES, hashlib.sha256(file.read_bytes()).hexdigest(), ("a", "b", "c"))
    assert card(encoder, str(file), None)["licence"] == "MIT"
