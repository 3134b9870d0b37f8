"""A trained network from whatever names it: a file, a run, an address, a release; with another classifier perhaps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.checkpoint_files import checkpoint_file, digest
from models.checkpoints import fetch, load_checkpoint, load_release
from models.descriptions import DECODER
from models.frontends import FrontEnd
from models.heads import with_head
from models.network import Network
from models.network_input import own_frontend
from models.releases import RELEASES

OF_OUTPUTS = ("task", "options", "labels", "thresholds", DECODER)  # what a checkpoint says of them
OWN_FILE = "or name a file of your own: inference.checkpoint=FILE"


@dataclass(frozen=True)
class TrainedWeights:
    """What weights hold.

    Attributes:
        network: In evaluation mode.
        frontend: What makes its input.
        metadata: What the file says besides; with another classifier, nothing about outputs.
        name: Of the weights, in a form that two equal networks share.
        file: They are read from it.
    """

    network: Network
    frontend: FrontEnd
    metadata: Mapping[str, Any]
    name: str
    file: Path


def open_trained(
    source: str, allowed: Collection[str], sha256: str | None, head: str | None, changed: Mapping[str, Any]
) -> TrainedWeights:
    """Read a trained network; arguments and errors are those of `experiments.encoder.Encoder.load`."""
    if source in RELEASES and not Path(source).exists():
        file = fetch(source, hint=OWN_FILE)
        network, metadata = load_release(source, **changed)[0], RELEASES[source].metadata
        frontend = own_frontend(network)
        name = RELEASES[source].identity if RELEASES[source].package else digest(file)
    else:
        file = checkpoint_file(source, sha256)
        loaded = load_checkpoint(file, allowed=allowed, **changed)
        network, frontend, metadata = loaded.network, loaded.frontend, loaded.metadata
        name = digest(file)
    if head is not None:
        of_head = checkpoint_file(head)
        network, name = with_head(network, of_head), f"{name}, head {digest(of_head)}"
        metadata = {key: value for key, value in metadata.items() if key not in OF_OUTPUTS}
    return TrainedWeights(network, frontend, metadata, name, file)
