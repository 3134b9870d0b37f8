"""Published tagging weights: which file is of which corpus, and other programs' Lightning checkpoints."""

from __future__ import annotations

import hashlib

import pytest
import torch

from models import published_taggers
from models.errors import CheckpointError
from models.layouts import read_weights


def test_every_list_of_tags_has_fifty_different_names():
    assert {len(tags) for tags in published_taggers.FILES.values()} == {50}
    assert {len(set(tags)) for tags in published_taggers.FILES.values()} == {50}


def test_magnatagatune_has_metal_before_female_voice_and_jamendo_is_sorted():
    tags = published_taggers.MAGNATAGATUNE
    assert tags.index("female voice") == tags.index("metal") + 1 == 48
    assert list(published_taggers.JAMENDO) == sorted(published_taggers.JAMENDO)


def test_an_unknown_file_tells_nothing(tmp_path):
    (tmp_path / "best_model.pth").write_bytes(b"weights")
    assert published_taggers.metadata_of(tmp_path / "best_model.pth") == {}
    assert published_taggers.metadata_of(tmp_path) == {}


def test_a_file_of_another_network_with_the_same_names_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(published_taggers, "OTHERS", {digest: "Cnn14_DecisionLevelMax"})
    with pytest.raises(CheckpointError, match=r"x\.pth holds weights of Cnn14_DecisionLevelMax"):
        published_taggers.metadata_of(tmp_path / "x.pth")


def test_a_lightning_checkpoint_of_another_program_is_read_without_its_prefix(tmp_path):
    torch.save({"state_dict": {"model.dense.weight": torch.ones(2, 3)}}, tmp_path / "theirs.ckpt")
    assert list(read_weights(tmp_path / "theirs.ckpt").state) == ["dense.weight"]


def test_a_checkpoint_with_more_than_a_network_is_refused(tmp_path):
    torch.save({"state_dict": {"model.weight": torch.ones(2), "loss.weight": torch.ones(2)}}, tmp_path / "theirs.ckpt")
    with pytest.raises(CheckpointError, match=r"first key: model\.weight"):
        read_weights(tmp_path / "theirs.ckpt")
