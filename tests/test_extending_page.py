"""Networks, front end and task of `docs/extending.md`, in one file outside of the project, by ordinary commands.

What the documentation shows is what is run here.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments import own_modules
from experiments.encoder import Encoder
from experiments.settings.probes import ROWS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
MODULE = "my_music"
OFF = "tracking.mongo=off"
OWN = (f"model.network={MODULE}:Small", f"datamodule.task={MODULE}:Fast")
FEW = ["trainer.max_epochs=2", "trainer.limit_train_batches=2", "trainer.accelerator=cpu"]


def blocks(language: str) -> list[str]:
    """The blocks of code of the page, of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [code for kind, code in found if kind == language]


def commands(corpus: Path) -> list[list[str]]:
    """What the page has people type: script and words, with the places of this test in them."""
    places = {"AUDIO_DIR": str(corpus / "audio"), "runs/KEY": "runs/" + next(iter(runs()), "KEY"), "/NAME": "/audio"}
    lines = blocks("")[0]
    for name, place in places.items():
        lines = lines.replace(name, place)
    return [line.split()[1:] for line in lines.splitlines()]


def runs() -> list[str]:
    """The trainings of this folder, the first one first."""
    found = sorted(Path("runs").glob("*/checkpoints/best.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    return [path.parents[1].name for path in found]  # names of one second are in no order


def newest() -> Path:
    """The last training of this folder."""
    return Path("runs") / runs()[-1]


def run(script: str, *words: str) -> dict[str, float]:
    """Run a command in this process; its result."""
    import ex_pretrain
    import ex_probe
    import ex_transfer

    experiments = {"ex_pretrain.py": ex_pretrain, "ex_probe.py": ex_probe, "ex_transfer.py": ex_transfer}
    return experiments[script].ex.run_commandline([str(ROOT / script), *words, OFF])


def run_apart(folder: Path, *words: str, code: int = 0) -> str:
    """Run `ex_transfer.py` in a process of its own, as a user does; what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "ex_transfer.py"), *words, OFF],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def home(tiny_corpus, tmp_path_factory) -> Iterator[Path]:
    """A working directory with the file of the page, where the first command has trained."""
    folder = tmp_path_factory.mktemp("own")
    (folder / f"{MODULE}.py").write_text("\n\n".join(blocks("python")), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(own_modules, "_named", set())
        run(*commands(tiny_corpus)[0], *FEW)
        yield folder
    sys.modules.pop(MODULE, None)


def test_the_page_shows_one_file_in_three_parts_and_the_commands_for_it(tiny_corpus):
    assert len(blocks("python")) == 3
    scripts = [(words[0], words[1]) for words in commands(tiny_corpus)]
    assert scripts == [
        ("ex_transfer.py", "with"),
        ("ex_transfer.py", "predict"),
        ("ex_pretrain.py", "extract_embeddings"),
        ("ex_probe.py", "with"),
        ("ex_transfer.py", "export"),
    ]


def test_arguments_of_the_network_are_settings(home, tiny_corpus):
    result = run(*commands(tiny_corpus)[0], *FEW, "model.width=8", "trainer.max_epochs=1")
    network = Encoder.load(newest(), device="cpu", allowed={MODULE}).network
    assert network.hyperparameters == {"n_classes": 2, "width": 8}
    assert 0 <= result["test/accuracy"] <= 1


def test_the_library_imports_what_its_caller_names(home, tiny_corpus):
    """In a process of its own, where no command has named the module before."""
    audio = next((tiny_corpus / "audio").rglob("*.*"))
    script = f"""
import soundfile
from experiments.encoder import Encoder
audio, rate = soundfile.read({str(audio)!r}, dtype="float32")
encoder = Encoder.load({"runs/" + runs()[0]!r}, allowed={{{MODULE!r}}}, device="cpu")
print(encoder.task.name, len(encoder.predict(audio.T, rate).best(5)), *encoder.embed(audio.T, rate))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "fast 2 hidden\n", done.stderr


def test_a_setting_that_the_network_does_not_have_is_named(home, tiny_corpus, capsys):
    with pytest.raises(SystemExit):
        run(*commands(tiny_corpus)[0], "model.widht=8")
    assert "no setting 'model.widht': did you mean model.width?" in capsys.readouterr().err


def test_it_predicts_extracts_is_probed_and_exported(home, tiny_corpus, capsys):
    _, predict, extract, probe, export = commands(tiny_corpus)
    soundfile.write("song.mp3", 0.1 * np.random.default_rng(0).standard_normal(5 * 22_050), 22_050)

    run(*predict, "inference.out_dir=OUT")
    (track,) = json.loads(Path("OUT/predictions.json").read_text())
    assert track["ranked"].keys() == {"slow", "fast"}
    (window,) = csv.DictReader(Path("OUT/predictions.csv").read_text(encoding="utf-8").splitlines())
    assert float(window["slow"]) + float(window["fast"]) == pytest.approx(1, abs=1e-3)

    written = run(*extract)["written"]
    (folder,) = Path("outputs/embeddings").glob("*/*hidden")
    store = Store(folder)
    assert len(store.ids) == written > 0
    assert store.header.item_shape == (1, 32)  # the first training, not that of width 8
    assert np.isfinite(store.read(store.ids[0])).all()

    probe = [word.replace("embeddings/audio", f"embeddings/{folder.parent.name}") for word in probe]
    for task, words in (("fast", []), ("genre", ["datamodule.task=genre", "probe.tasks=[genre]"])):
        capsys.readouterr()
        result = run(*probe, *words, "probe.grid=single", "probe.max_steps=20", "probe.jobs=1")
        assert result.keys() >= {f"{task}/{row}/accuracy" for row in ROWS}
        assert {name.partition("/")[0] for name in result} == {task}
        assert re.search(r"embeddings +\d", "".join(capsys.readouterr()))

    run(*export, "export.path=net.onnx")
    assert Path("net.onnx").stat().st_size > 1000


def test_a_tagger_trains_and_all_that_taggers_have_comes_with_it(home, tiny_corpus):
    words = [f"model.network={MODULE}:Bands", "recipe_ap", f"datamodule.base_dir={tiny_corpus / 'audio'}"]
    result = run("ex_transfer.py", "with", *words, *FEW, "model.width=4", "datamodule.task=tagging")
    assert {"test/ap", "test/ap_micro", "test/f1_macro"} <= result.keys()
    encoder = Encoder.load(newest(), device="cpu", allowed={MODULE})
    network = encoder.network.eval()
    assert network.hyperparameters == {"n_classes": len(encoder.labels), "width": 4}
    assert (encoder.input, encoder.thresholds.split) == ("audio", "valid")
    audio = 0.1 * np.random.default_rng(0).standard_normal(9 * 16_000).astype(np.float32)
    assert encoder.predict(audio, 16_000).times == pytest.approx([0, 2.5, 5], abs=0.02)
    tokens = encoder.embed(audio, 16_000, ["layer1", "layer2"])
    assert {layer: values.shape for layer, values in tokens.items()} == {"layer1": (2, 1, 4), "layer2": (2, 1, 8)}
    frames = torch.randn(2, 250, 64) * 20 - 30
    with torch.inference_mode():
        torch.testing.assert_close(network.prepared()(frames), network(frames), atol=1e-4, rtol=1e-4)
    assert [len(names) for names in network.parameter_layers()] == [2, 4, 4, 2]


def test_a_network_over_time_trains_and_wrong_steps_are_named(home, tiny_corpus, capsys, monkeypatch):
    words = blocks("")[1].replace("AUDIO_DIR", str(tiny_corpus / "audio")).split()
    result = run(*words[1:], *FEW, "model.width=4")
    assert 0 <= result["test/beat_f1"] <= 1
    encoder = Encoder.load(newest(), device="cpu", allowed={MODULE})
    assert (encoder.network.hyperparameters, encoder.network.pool) == ({"n_classes": 2, "width": 4}, 2)
    audio = 0.1 * np.random.default_rng(0).standard_normal(9 * 16_000).astype(np.float32)
    assert encoder.predict(audio, 16_000).over_time.shape == ((9 * 16_000 // 256 + 1) // 2, 2)
    monkeypatch.setattr(sys.modules[MODULE].Pulses, "pool", 3)
    monkeypatch.setattr(sys.modules[MODULE].Pulses, "tokens", lambda self, cells: cells.transpose(1, 2)[:, 1:])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run(*words[1:], *FEW, "model.width=4")
    assert re.search(r"steps being frames // pool, here \d+ // 3 = ", capsys.readouterr().err)


def test_in_processes_of_their_own(tiny_corpus, tmp_path):
    """Trained and evaluated; and a checkpoint alone does not import the module that it names."""
    corpus = f"datamodule.base_dir={tiny_corpus / 'audio'}"
    (tmp_path / f"{MODULE}.py").write_text(blocks("python")[0], encoding="utf-8")
    run_apart(tmp_path, "with", "mine", "debug", *OWN, corpus)
    (trained,) = (tmp_path / "runs").glob("*/checkpoints/best.ckpt")
    checkpoint = f"inference.checkpoint={trained.parents[1].relative_to(tmp_path)}"
    assert re.search(r"test/accuracy \d", run_apart(tmp_path, "evaluate", "with", "mine", *OWN, corpus, checkpoint))
    said = run_apart(tmp_path, "evaluate", "with", corpus, checkpoint, code=1)
    assert f"{MODULE}:Small" in said
    assert OWN[0] in said
