"""What a run was made of: the commit and what differs from it, the machine, the packages, the sources.

Nothing here may stop a run: a tool that is missing, refuses or hangs leaves a gap and a log line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.tracking.masking import mask

PACKAGES = ("experiments", "models", "datasets", "preprocess")
GIT_SECONDS = 3.0  # limit for one call of git
NVML_SECONDS = 2.0
DIFF_BYTES = 1_000_000
SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "SLURM_NNODES")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Revision:
    """State of a git work tree.

    Attributes:
        commit: full hash, None before the first commit.
        branch: None when the head is detached.
        dirty: whether tracked files differ from the commit or untracked sources exist.
        url: remote `origin` without secrets.
        diff: patch from the commit to the work tree; empty when clean, None when it is too large.
    """

    commit: str | None
    branch: str | None
    dirty: bool
    url: str | None
    diff: bytes | None = b""

    def record(self) -> dict[str, Any]:
        """The entry of `experiment.repositories`."""
        return {"url": self.url or "", "commit": self.commit, "branch": self.branch, "dirty": self.dirty}


class Unreadable(RuntimeError):
    """Why the revision is unknown."""


def revision(directory: Path) -> Revision:
    """State of the work tree around `directory`.

    Raises:
        Unreadable: No git, no repository, one that belongs to someone else, or no answer in time; says which.
    """
    directory = Path(_git(directory, "rev-parse", "--show-toplevel").decode().strip())
    listing = _git(directory, "status", "--porcelain=v2", "--branch", "--untracked-files=all").decode(
        "utf-8", "replace"
    )
    commit: str | None = None
    branch: str | None = None
    changed, untracked = False, []
    for line in listing.splitlines():
        if line.startswith("# branch.oid "):
            commit = line.split()[2] if "(initial)" not in line else None
        elif line.startswith("# branch.head "):
            branch = line.split(" ", 2)[2] if "(detached)" not in line else None
        elif line.startswith("? "):
            untracked.append(line[2:])
        elif not line.startswith("#"):
            changed = True
    try:
        url = str(mask(_git(directory, "config", "--get", "remote.origin.url").decode("utf-8", "replace").strip()))
    except Unreadable:
        url = None
    sources = [name for name in untracked if name.endswith(".py")]
    dirty = changed or bool(sources)
    diff = _difference(directory, sources) if dirty and commit else b""
    return Revision(commit, branch, dirty, url, diff)


def _difference(directory: Path, untracked: list[str]) -> bytes | None:
    """Patch from the commit to the work tree, untracked sources included; when too large, Python alone, or None."""
    plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    added = b"".join(
        _git(directory, "diff", "--no-index", *plain, "--", os.devnull, name, codes=(0, 1)) for name in untracked
    )
    for selection in ((), ("--", "*.py")):
        patch = _git(directory, "diff", "HEAD", *plain, *selection) + added
        if len(patch) <= DIFF_BYTES:
            return patch
    return None


def _git(directory: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
    """Standard output of a git command at the top of the work tree."""
    environment = os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, timeout=GIT_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise Unreadable("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Unreadable(f"git {arguments[0]} gave no answer in {GIT_SECONDS:g} s") from error
    except OSError as error:
        raise Unreadable(f"git cannot be started: {error}") from error
    if done.returncode not in codes:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unreadable(str(mask(lines[0])))
    return done.stdout


def keep_sources(main_file: Path | None, run_directory: Path) -> list[dict[str, str]]:
    """Keep the Python files of our packages, and the script that was started, once per content among a folder's runs.

    The content lies in `<runs>/.sources/<sha256>` and is hard-linked into `<run>/sources/`, so that either folder is
    whole when copied alone.

    Returns:
        Records `{path, sha256, file}`, `file` relative to the run's directory.
    """
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    if main_file is not None and main_file.is_file():
        files.append(main_file.resolve())
    shared, own = run_directory.parent / ".sources", run_directory / "sources"
    shared.mkdir(exist_ok=True)
    own.mkdir(exist_ok=True)
    records = []
    for path in dict.fromkeys(files):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        kept, linked = shared / digest, own / digest
        if not kept.exists():
            aside = kept.with_name(f".{digest}.{os.getpid()}")
            aside.write_bytes(content)
            os.replace(aside, kept)
        if not linked.exists():
            try:
                os.link(kept, linked)
            except OSError:
                shutil.copyfile(kept, linked)
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        records.append({"path": name, "sha256": digest, "file": f"sources/{digest}"})
    return records


def packages() -> list[str]:
    """`name==version` of every installed distribution, sorted; names as in their folders, `-` for `_`."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for path in Path(folder or ".").glob("*.dist-info"):
            name, _, version = path.stem.rpartition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
    return [f"{name}=={found[name]}" for name in sorted(found)]


def host(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The machine: names, versions, processor, memory, GPUs and SLURM ids; no other environment variable."""
    import psutil

    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {
        "hostname": platform.node(),
        "os": [platform.system(), platform.platform()],
        "python_version": platform.python_version(),
        "cpu": _processor(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "slurm": {name: environ[name] for name in SLURM if name in environ},
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["torch"] = importlib.metadata.version("torch")
    if cards := gpus():
        found["gpus"] = cards
    if (torch := sys.modules.get("torch")) is not None:
        found["cuda"] = torch.version.cuda
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if match := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return match[1].strip()
    except OSError:
        return platform.processor() or "unknown"
    return platform.processor() or platform.machine()


def gpus(seconds: float = NVML_SECONDS) -> dict[str, Any] | None:
    """Model and memory (MiB) of each NVIDIA card, and the driver's version; None without an answer in time."""
    answer: list[dict[str, Any] | None] = []
    thread = threading.Thread(target=lambda: answer.append(_ask_nvml()), daemon=True, name="nvml")
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None


def _ask_nvml() -> dict[str, Any] | None:
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception:  # it is not installed, or there is no driver
        return None
    try:
        cards = [_card(nvml, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount())]
        return {"driver_version": nvml.nvmlSystemGetDriverVersion(), "gpus": cards}
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, handle: Any) -> dict[str, Any]:
    """One card; the memory of a partitioned one is not known."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20
    except nvml.NVMLError:
        memory = None
    return {"model": nvml.nvmlDeviceGetName(handle), "total_memory": memory}
