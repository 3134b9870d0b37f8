"""A container file whose steps are done in a folder, where no containers can be run.

Its packages are installed into an environment of their own, its files copied, its commands run there with its
variables and, where root runs the tests, as its user. Absolute paths lie in the folder. What it has the system's
package manager install must be there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSIDE = re.compile(r"(?<![\w./])/(?=(?:opt|models|run|tmp)(?:/|$))")  # where paths of the container begin
SYSTEM = ("apt-get", "rm", "useradd")  # change the system, not the project
INSTALLING = 240  # seconds


@dataclass
class Container:
    """What the steps of a file have made.

    Attributes:
        root: Its folder.
        user: Of its commands; None: ours.
        environment: Variables.
        folder: Where commands run.
        command: What it is started with.
        health: What asks whether it works.
    """

    root: Path
    user: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """A text with the paths of the container in the folder."""
        return INSIDE.sub(f"{self.root}/", text)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Run a command there."""
        words = [self.inside(word) for word in command]
        program = shutil.which(words[0], path=self.environment["PATH"])
        as_user = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        return subprocess.Popen(
            [program, *words[1:]], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True, **as_user
        )

    def files(self) -> set[Path]:
        """All it has but temporary ones, and those that Python writes where it may."""
        found = {path.relative_to(self.root) for path in self.root.rglob("*")}
        return {path for path in found if path.parts[0] != "tmp" and "__pycache__" not in path.parts}


def steps(file: Path) -> list[tuple[str, str]]:
    """The instructions of a container file, with what follows them."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", file.read_text(encoding="utf-8")))
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()
    ]


def rehearsed(file: Path, root: Path) -> Container:
    """Do the steps of a file in an empty folder that every user can enter."""
    made, command = Container(root, environment={"HOME": str(root / "tmp")}), {"ENTRYPOINT": [], "CMD": []}
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for instruction, rest in steps(file):
        match instruction:
            case "FROM":
                _make_environment(made)
            case "WORKDIR":
                made.folder = Path(made.inside(rest))
                made.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(*rest.split(), to=made.folder)
            case "RUN":
                for part in rest.split("&&"):
                    _run(made, shlex.split(part))
            case "ENV":
                made.environment |= dict(word.split("=", 1) for word in shlex.split(made.inside(rest)))
            case "USER":
                made.user = _user(made, int(rest.partition(":")[0]))
            case "HEALTHCHECK":
                made.health = json.loads(rest.partition(" CMD ")[2])
            case "ENTRYPOINT" | "CMD":
                command[instruction] = json.loads(rest)
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"{file}: nobody knows how to rehearse {instruction}")
    made.command = [*command["ENTRYPOINT"], *command["CMD"]]
    return made


def _make_environment(made: Container) -> None:
    """Python with nothing but itself, of a version that can be run by others, too."""
    _uv("venv", "--python", _python(), str(made.root / "venv"))
    (made.root / "programs").mkdir()
    made.environment["PATH"] = f"{made.root}/venv/bin:{made.root}/programs"


def _python() -> str:
    own = f"python3.{sys.version_info.minor}"
    found = [shutil.which(own, path="/usr/bin:/usr/local/bin"), str(Path(sys.base_prefix) / "bin" / own)]
    return next(path for path in found if path and Path(path).exists())


def _copy(*sources: str, to: Path) -> None:
    *sources, target = sources
    for source in sources:
        here = ROOT / source
        if here.is_dir():
            shutil.copytree(here, to / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (to / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(here, to / target)


def _run(made: Container, words: list[str]) -> None:
    program, *rest = words
    if program in SYSTEM:
        if rest[:1] == ["install"]:
            for package in (word for word in rest[1:] if not word.startswith("-")):
                (made.root / "programs" / package).symlink_to(shutil.which(package))
    elif program == "pip":
        _uv("pip", *(word for word in rest if word != "--no-cache-dir"), python=made.root / "venv", folder=made.folder)
    else:
        process = made.start(*words)
        process.communicate(timeout=INSTALLING)
        assert process.returncode == 0, words


def _uv(*words: str, python: Path | None = None, folder: Path | None = None) -> None:
    """uv does what pip does, in a tenth of the time."""
    uv = Path(sys.executable).with_name("uv")
    more = {} if python is None else {"VIRTUAL_ENV": str(python)}
    done = subprocess.run(
        [uv, *words], cwd=folder, env=os.environ | more, capture_output=True, text=True, timeout=INSTALLING
    )
    assert done.returncode == 0, done.stderr


def _user(made: Container, user: int) -> int | None:
    """The user, where we may become one who can run this Python."""
    if os.getuid() != 0:
        return None
    try:
        subprocess.run([made.root / "venv/bin/python", "-c", ""], user=user, group=user, extra_groups=[], check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return user
