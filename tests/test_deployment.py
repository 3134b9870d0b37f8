"""What `deploy/` holds works: the container, or its steps where no container can be run, and the unit of systemd."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.configs import catalogue
from experiments.settings import ServiceSettings
from experiments.tracking import overrides
from experiments.transfer.settings import TransferSettings
from tests.containerfiles import ROOT, Container, rehearsed, steps
from tests.experiments.service.exported import asked, opened, written

DEPLOY = ROOT / "deploy"
CONTAINERFILE, UNIT = DEPLOY / "Containerfile", DEPLOY / "ostinato.service"
PAGE = ROOT / "docs" / "serving.md"
SOUND = ROOT / "tests" / "data" / "super_polka.ogg"
TOKEN = "f" * 32
BARS = """
import numpy
from models.rhythm.decoding import Decoding, decode
steps = numpy.arange(500)[:, None] % [25, 100]
print(len(decode(0.01 + 0.9 * (steps == 0), 50, Decoding(name="dbn")).times))
"""
PATIENCE = 120  # seconds
SERVED = [
    *("service.models.tags=/models/tags.onnx", "service.models.beats=/models/beats.onnx"),
    *("service.token=@/run/secrets/token", "service.decoders=1", "inference.threads=1"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with exported networks."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("tags", "beats"):
        written(kind, folder)
    return folder


@pytest.fixture(scope="module")
def container(models) -> Iterator[Container]:
    """The container, rehearsed, with models and a token in it."""
    with tempfile.TemporaryDirectory(prefix="ostinato-rehearsal-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        made = rehearsed(CONTAINERFILE, root)
        secrets = root / "run" / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "token").write_text(f"{TOKEN}\n")
        shutil.copytree(models, root / "models")
        (root / "models").chmod(0o755)
        yield made


def ask(address: str, token: str = TOKEN, audio: Path = SOUND) -> dict:
    """What a service says of a file."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{address}/v1/predict", audio.read_bytes(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)["answers"]


def check(address: str, models: Path, folder: Path) -> None:
    """A service answers as this environment does, files for ffmpeg too, and nobody without the token."""
    answers, own = ask(address), asked(opened(models / "tags.onnx"), SOUND)
    assert answers["tags"]["ranked"] == own.ranked
    assert answers["beats"]["kind"] == "beats"
    song = folder / "song.m4a"
    subprocess.run(["ffmpeg", "-v", "error", "-i", SOUND, "-t", "6", "-c:a", "aac", song], check=True, timeout=PATIENCE)
    assert ask(address, audio=song)["tags"]["seconds"] == pytest.approx(6, abs=0.1)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(address, token="e" * 32)


def test_a_container_answers_is_healthy_and_ends_in_order(container, models, tmp_path):
    before = container.files()
    server = container.start(*container.command[:7], *SERVED, "service.port=0")
    limit = threading.Timer(PATIENCE, server.kill)
    limit.start()
    try:
        port = next(found[1] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        check(f"http://127.0.0.1:{port}", models, tmp_path)
        health = container.start(*(word.replace(":8000/", f":{port}/") for word in container.health))
        assert health.wait(PATIENCE) == 0
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
        limit.cancel()
    assert server.returncode == 0
    assert container.files() == before, "its file system may be read-only"
    assert not list((container.root / "tmp").rglob("Microsoft")), "onnxruntime tells nobody what it is used for"
    assert container.start(*container.health).wait(PATIENCE) != 0


def test_a_container_has_no_pytorch(container):
    installed = {path.name for path in (container.root / "venv").glob("lib/*/site-packages/*")}
    assert "onnxruntime" in installed
    assert not installed & {"torch", "torchvision", "lightning", "pip"}


def test_a_container_decodes_bars(container):
    found, _ = container.start("python", "-c", BARS).communicate(timeout=PATIENCE)
    assert int(found) == 20


def test_a_container_without_its_model_says_so(container, capfd):
    server = container.start(*container.command, "service.port=0")
    server.communicate(timeout=PATIENCE)
    assert server.returncode == 1
    assert "/models/model.onnx: no such file" in capfd.readouterr().err


def runtime() -> str | None:
    """The program that runs containers here."""
    for name in ("podman", "docker"):
        if shutil.which(name) and not subprocess.run([name, "info"], capture_output=True, timeout=PATIENCE).returncode:
            return name
    return None


def test_the_image_answers_is_healthy_and_ends_in_order(models, tmp_path):
    program = runtime()
    if program is None:
        pytest.skip("no containers can be run here")

    def do(*words: str | Path) -> str:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    base = next(rest for instruction, rest in steps(CONTAINERFILE) if instruction == "FROM")
    if subprocess.run([program, "pull", base], capture_output=True, timeout=PATIENCE).returncode:
        pytest.skip(f"{base} cannot be had")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    shared = ["-v", f"{models}:/models:ro", "-v", f"{token}:/run/secrets/token:ro"]
    image = do("build", "-q", "-f", CONTAINERFILE, ROOT)
    name = do("run", "-d", "--init", "--read-only", "--tmpfs", "/tmp", "-p", "127.0.0.1::8000", *shared, image, *SERVED)
    try:
        address = f"http://{do('port', name, '8000').splitlines()[0]}"
        for _ in range(PATIENCE):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            except OSError:
                threading.Event().wait(1)
        check(address, models, tmp_path)
        do("stop", "-t", "60", name)
        assert do("inspect", "-f", "{{.State.ExitCode}}", name) == "0"
    finally:
        subprocess.run([program, "rm", "-f", name], capture_output=True, timeout=PATIENCE)


def test_the_build_is_given_what_the_container_file_copies():
    copied = {word.rstrip("/") for kind, rest in steps(CONTAINERFILE) if kind == "COPY" for word in rest.split()[:-1]}
    given = set(re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text()))
    assert given == copied


def commands() -> dict[str, list[str]]:
    """What the container and the unit start, from `with` on."""
    container = [
        word for kind, rest in steps(CONTAINERFILE) if kind in ("ENTRYPOINT", "CMD") for word in json.loads(rest)
    ]
    unit = shlex.split(re.search(r"(?m)^ExecStart=(.*)$", UNIT.read_text())[1])
    return {"container": container, "unit": unit}


@pytest.mark.parametrize("kind", ["container", "unit"])
def test_what_is_started_has_settings_that_exist(kind):
    words = commands()[kind]
    tokens = words[words.index("with") + 1 :]
    made = overrides.compose(TransferSettings, catalogue.TRANSFER, tokens).settings
    assert made.service.token


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/ostinato/.venv/bin/python", shutil.which("true")))
    for words in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *words, unit], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words[0] == "security" or not done.stderr


def test_a_unit_leaves_the_service_the_time_that_it_takes_to_end():
    stop = int(re.search(r"(?m)^TimeoutStopSec=(\d+)$", UNIT.read_text())[1])
    assert stop >= ServiceSettings().shutdown + 20


def test_the_page_has_every_setting_of_the_service():
    named = set(re.findall(r"`service\.(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert ServiceSettings.model_fields.keys() <= named
