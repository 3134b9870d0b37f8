"""The locks hold what the requirements ask for, whole, with hashes, for every Python that is supported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PAIRS = [("requirements.txt", "requirements.lock"), ("requirements-test.txt", "requirements-test.lock")]
SERVED = ("deploy/requirements.txt", "deploy/requirements.lock")  # a part of them
TRIOS = {"2.11.0": ("0.26.0", "2.11.0"), "2.14.1": ("0.29.1", "2.11.1")}  # torch: torchvision and torchaudio beside it


def wanted(name: str) -> list[Requirement]:
    """The requirements of a file and of those that it includes."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        text = re.sub(r"\s+#.*|^#.*", "", line).strip()
        if text.startswith("-r "):
            found += wanted(text.removeprefix("-r "))
        elif text and not text.startswith("--"):
            found.append(Requirement(text))
    return found


def pinned(name: str) -> list[tuple[Requirement, int]]:
    """Every entry of a lock, with the number of its hashes."""
    entries = re.split(r"\n(?=\w)", re.sub(r"(?m)^\s*#.*\n", "", (ROOT / name).read_text()))
    return [
        (Requirement(entry.split("\\")[0].strip()), entry.count("--hash=sha256:")) for entry in entries if "==" in entry
    ]


def environment(python: str) -> dict[str, str]:
    """What markers see on 64-bit Linux."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def applies(marker: Marker | None, python: str) -> bool:
    return marker is None or marker.evaluate(environment(python))


def versions(name: str, python: str) -> dict[str, str]:
    """The version of every package that a lock installs for a Python."""
    found: dict[str, str] = {}
    for requirement, _ in pinned(name):
        if applies(requirement.marker, python):
            package = canonicalize_name(requirement.name)
            assert package not in found, f"{name} has two versions of {package} for Python {python}"
            found[package] = str(requirement.specifier).removeprefix("==")
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("ranges", "lock"), [*PAIRS, SERVED])
def test_a_lock_satisfies_its_ranges(ranges: str, lock: str, python: str):
    locked = versions(lock, python)
    for requirement in wanted(ranges):
        if applies(requirement.marker, python):
            version = locked.get(canonicalize_name(requirement.name))
            assert version is not None, f"{lock} lacks {requirement.name}: make lock"
            assert requirement.specifier.contains(version, prereleases=True), f"{lock}: {requirement.name} {version}"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ["requirements.lock", SERVED[1]])
def test_all_locks_have_the_same_versions(lock: str, python: str):
    tests, own = versions("requirements-test.lock", python), versions(lock, python)
    assert {name: tests.get(name) for name in own} == own


def test_what_serves_without_pytorch_needs_nothing_that_the_project_does_not():
    all_of_it, served = ({one.name for one in wanted(name)} for name in ("requirements.txt", SERVED[0]))
    assert served <= all_of_it
    assert "torch" not in versions(SERVED[1], "3.12")


@pytest.mark.parametrize("lock", [lock for _, lock in [*PAIRS, SERVED]])
def test_a_lock_has_a_hash_of_every_package_and_no_address(lock: str):
    assert all(hashes for _, hashes in pinned(lock))
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:", (ROOT / lock).read_text())


@pytest.mark.parametrize("lock", [lock for _, lock in PAIRS])
def test_torch_and_its_neighbours_match(lock: str):
    locked = versions(lock, "3.11")
    vision, audio = TRIOS[locked["torch"]]
    assert locked["torchvision"] == vision
    assert locked.get("torchaudio", audio) == audio


def test_the_pythons_of_the_project_are_those_of_the_lock():
    supported = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    assert [minor for minor in range(8, 20) if f"3.{minor}.1" in supported] == [int(python[2:]) for python in PYTHONS]
