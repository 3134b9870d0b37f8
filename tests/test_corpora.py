"""Published corpora from end to end by the commands a user types, in miniature: prepare, extract, probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.corpora import CORPORA
from datasets.demo.miniature import miniature
from datasets.store import Store
from experiments.configs.catalogue import PRETRAIN, PROBE, TRANSFER
from experiments.configs.targets import PROBED, TARGETS, WHOLE
from experiments.probes.fitted import FittedProbe
from preprocess.__main__ import main as preprocess

ROOT = Path(__file__).resolve().parents[1]
OFF = "tracking.mongo=off"
FEW = {"train": 10, "valid": 8, "test": 8}
SONGS = {"train": 5, "valid": 4, "test": 4}


def run(script: str, *arguments: str) -> dict:
    """Run a command in this process, as `python script arguments` would; its result."""
    from ex_pretrain import ex as pretrain
    from ex_probe import ex as probe
    from ex_transfer import ex as transfer

    experiment = {"ex_pretrain.py": pretrain, "ex_probe.py": probe, "ex_transfer.py": transfer}[script]
    return experiment.run_commandline([str(ROOT / script), *arguments])


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tiny_mels, tmp_path_factory):
    """A working directory with a toy network, and every corpus in miniature where the named configs look for it."""
    folder = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        folders = {target.folder for target in WHOLE}
        for name in CORPORA:
            if name not in folders and "giantsteps" not in name:  # nothing to extract embeddings for
                continue
            place = "giantsteps" if "giantsteps" in name else name
            only = miniature(name, folder / "copies" / place, SONGS if "giantsteps" in name else FEW, tiny_corpus)
            words = [name, only.parent, folder / "data" / place / "mels", "--only", only, "--jobs", "1", "--quiet"]
            assert preprocess([*map(str, words)]) == 0
        run(
            "ex_pretrain.py", "with", "maest_5s_random_weights_pretrain", "debug", OFF, "trainer.max_epochs=1",
            f"datamodule.base_dir={tiny_mels}", f"datamodule.groundtruth={tiny_corpus / 'tracks.csv'}",
            "trainer.checkpoint_dir=weights",
        )  # fmt: skip
        yield folder


def extract(target: str) -> Path:
    """Store the embeddings of a corpus; the folder of the store."""
    out = Path(PRETRAIN[f"target_{target}"].values["inference"]["out_dir"])
    if not out.exists():
        words = ["with", f"target_{target}", "debug", "inference.checkpoint=weights/best.ckpt", OFF]
        run("ex_pretrain.py", "extract_embeddings", *words)
    return out / "block_01"


@pytest.mark.parametrize("target", [target.name for target in PROBED])
def test_prepared_extracted_and_probed(target, home):
    store = extract(target)
    probed = run("ex_probe.py", "with", f"probe_{target}", f"embeddings.store={store}", "probe.grid=single", OFF)
    assert all(np.isfinite(value) for value in probed.values())
    assert any(name.startswith(next(one.task for one in TARGETS if one.name == target)) for name in probed)


@pytest.mark.parametrize("target", ["mtt", "giantsteps", "emomusic"])
def test_transfer_learning_on_what_was_extracted(target, home):
    extract(target)
    words = ["with", f"target_{target}_tl", "demo", "embeddings.block=1", "trainer.max_epochs=2", OFF]
    result = run("ex_transfer.py", *words)
    kept = FittedProbe.load(TRANSFER[f"target_{target}_tl"].values["probe"]["file"])
    assert kept.task.name == next(one.task for one in TARGETS if one.name == target)
    assert result["val/loss"] == pytest.approx(kept.loss)
    if target == "giantsteps":
        assert result["test/n_items"] <= SONGS["test"]


def test_clips_of_songs_are_extracted_each_by_itself(home):
    store = Store(extract("giantsteps"))
    songs = {identity.rpartition("-")[0] for identity in store.ids}
    assert len(songs) == sum(SONGS.values())
    assert len(store.ids) == 2 * len(songs)
    song = min(songs)
    assert not np.array_equal(store.read(f"{song}-0"), store.read(f"{song}-1"))


def test_every_target_has_its_folder_and_table_when_its_corpus_is_prepared(home):
    for target in WHOLE:
        mels = home / PRETRAIN[f"target_{target.name}"].values["datamodule"]["base_dir"]
        assert (mels / "header.json").is_file()
        assert (mels / (target.table or "tracks.csv")).is_file()
        if target in PROBED:
            assert PROBE[f"probe_{target.name}"].values["probe"]["tasks"] == [target.task]
