"""Names of classes, from whatever carries them."""

from __future__ import annotations

import pytest

from datasets.tables import CorpusError
from experiments.errors import UserError
from experiments.labels import output_names, read_labels
from models.checkpoints import save_network
from models.maest import MAEST
from models.maest.huggingface import write_huggingface

NAMES = ("Rock---Punk", "Folk, World, & Country---Éntekhno", "Jazz---Bebop")


def test_checkpoints_and_folders_carry_them(tmp_path):
    network = MAEST(n_classes=3, dim=32, depth=1, heads=2)
    save_network(tmp_path / "own.safetensors", network, {"labels": list(NAMES)})
    write_huggingface(tmp_path / "folder", network, NAMES, {})
    assert read_labels(str(tmp_path / "own.safetensors")) == NAMES == read_labels(str(tmp_path / "folder"))
    save_network(tmp_path / "bare.safetensors", network, {})
    with pytest.raises(UserError, match="names no classes"):
        read_labels(str(tmp_path / "bare.safetensors"))


def test_a_file_goes_before_what_the_weights_carry(tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    assert output_names(["a", "b", "c"], str(tmp_path / "labels.txt"), 3) == NAMES
    assert output_names(["a", "b", "c"], None, 3) == ("a", "b", "c")
    assert output_names(None, None, 2) == ("class_000", "class_001")
    with pytest.raises(UserError, match=r"labels\.txt: 3 names, the network has 4 classes"):
        output_names(None, str(tmp_path / "labels.txt"), 4)
    with pytest.raises(
        CorpusError, match=r"^inference\.labels=mtt: no such file; .* or a built-in list: magnatagatune, msd, jamendo$"
    ):
        output_names(None, "mtt", 50)
    with pytest.raises(CorpusError, match=r"^datamodule\.labels=mtt: no such file"):
        read_labels("mtt")
