"""A service of small networks with random weights, to test its page.

    python -m tests.browser.page.serving FOLDER tags,key,mood,beats,texture [SETTING=VALUE ...]

Checkpoints are written to the folder first; the settings are those of the section `service`. With BUSY=N in the
environment N uploads are refused with 429 before one is taken, again and again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from fastapi import FastAPI, Request

from experiments.service import problems, serving
from experiments.service.app import build_app
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.transfer.settings import TransferSettings
from models.checkpoints import save_network
from models.frontends import MusiCNNMel
from models.maest import MAEST
from tests.models.click_toys import Clicks, Levels

TAGS = (
    "guitar",
    "slow",
    "Folk, World, & Country---Nueva Cancion with a label that goes on for longer than anybody expects of a label",
    "=HYPERLINK(1)",
    "<img src=x onerror=alert(1)>",
    "seconds of rain",
    "piano",
    "Kayōkyoku",
    "no vocals",
    "loud",
    "ambient",
    "drums",
)


def network(classes: int, seed: int) -> MAEST:
    """One with windows of 5 s, whose outputs differ from window to window."""
    torch.manual_seed(seed)
    made = MAEST(n_classes=classes, n_frames=312, dim=32, depth=2, heads=2)
    if classes:
        torch.nn.init.normal_(made.head[1].weight, std=0.4)
    return made.eval()


def write(folder: Path) -> dict[str, Path]:
    """Checkpoints by the names of models."""
    mel = MusiCNNMel().fingerprint
    made = {
        "tags": (network(len(TAGS), 0), {"labels": list(TAGS), "task": "tagging", "frontend": mel}),
        "key": (network(24, 1), {**build("key").metadata, "frontend": mel}),
        "mood": (network(2, 2), {**build("emotion", mean=[5.0, 5.0], scale=[2.0, 2.0]).metadata, "frontend": mel}),
        "beats": (Clicks(), build("beats").metadata, Levels()),
        "texture": (network(0, 3), {"task": None, "frontend": mel}),
    }
    files = {}
    for name, parts in made.items():
        files[name] = folder / f"{name}.safetensors"
        save_network(files[name], *parts)
    return files


def busy(app: FastAPI, times: int) -> FastAPI:
    """An application that refuses some uploads before it takes one."""
    refused = [0]

    @app.middleware("http")
    async def refuse(request: Request, answer):
        if request.method == "POST":
            if refused[0] < times:
                refused[0] += 1
                return problems.response(429, "too many requests", {"Retry-After": "1"})
            refused[0] = 0
        return await answer(request)

    return app


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2].split(",")
    files = write(folder)
    given = dict(word.split("=", 1) for word in sys.argv[3:])
    settings = TransferSettings(
        service={"models": {name: str(files[name]) for name in names}, "port": 0, "decoders": 1, **given},
        model={"network": "tests.models.click_toys:Clicks"} if "beats" in names else {},
        trainer={"accelerator": "cpu"},
    )
    run = RunHandle(folder / "run", 0)
    run.directory.mkdir(exist_ok=True)
    serving.build_app = lambda service: busy(build_app(service), int(os.environ.get("BUSY", 0)))
    serving.serve(settings, run)


if __name__ == "__main__":
    main()
