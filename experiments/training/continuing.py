"""Where a training goes on, and whose checkpoints a folder holds."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning as L

from datasets.file_locks import close_lock, open_lock, wait_exclusive
from experiments import distributed
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle, liveness
from experiments.tracking.liveness import run_state
from experiments.training.checkpointing import BEST, INTERRUPTED, LAST
from experiments.training.trainer import checkpoint_folder
from models.errors import CheckpointError
from models.files import replaced
from models.layouts import load_pickled

Prepared = TypeVar("Prepared")

RESUME_VARIABLE = "OSTINATO_RESUME"  # rank zero's choice, for the ranks that it launches
NEEDED = ("optimizer_states", "lr_schedulers", "state_dict")  # without which Lightning does not go on
KEPT = "epoch=*.ckpt"  # of `trainer.keep_every_n_epochs`
REQUEUED = "hpc_ckpt_*.ckpt"  # in a run's folder: what Lightning leaves when SLURM requeues a job
OWNER = ".run.json"  # in a folder of checkpoints: the run they are of
CLAIM, CLAIM_SECONDS = ".run.lock", 60.0  # held for as long as `OWNER` is read and written
UNFINISHED = ("failed", "interrupted", "stale", "elsewhere")  # how a run stands with which `resume=True` goes on


def begin(settings: PretrainSettings, run: RunHandle, prepare: Callable[[], Prepared]) -> tuple[Prepared, Path | None]:
    """Prepare a training, and find the checkpoint that it goes on from; None at a beginning.

    Args:
        settings: Of the training.
        run: Its seed counts for all that is drawn.
        prepare: Makes what is trained, and notes its data with the run.

    Raises:
        UserError: See `resume_from` and `same_data`.
    """
    L.seed_everything(run.seed, workers=True, verbose=False)
    checkpoint = resume_from(settings, run)
    before = run.known("data")
    prepared = prepare()
    if checkpoint:
        same_data(before, run)
    return prepared, checkpoint


def resume_from(settings: PretrainSettings, run: RunHandle) -> Path | None:
    """The checkpoint that a training goes on from, the same on every rank; None at a beginning.

    Its points from there on are taken back, and its folder of checkpoints is this run's from now on.

    Raises:
        UserError: The folder holds the checkpoints of another run; all that are of this one are damaged or without the
            state of a training; or this rank does not see the checkpoint.
    """
    if run.is_global_zero:
        found = _newest(settings, run) if run.origin else None
        if settings.trainer.checkpoint_dir:
            _claim(checkpoint_folder(settings.trainer, run.directory), run)
        if run.origin == run.directory:
            run.rewind(found[1] if found else 0)
        if found:
            say(f"going on from {found[0]}, after {found[1]} steps")
        elif run.origin:
            say(f"run {run.origin.name} left no checkpoint; starting from the beginning")
        os.environ[RESUME_VARIABLE] = str(found[0].absolute()) if found else ""
    chosen = distributed.share(os.environ.get(RESUME_VARIABLE, ""))
    if chosen and not Path(chosen).is_file():
        raise UserError(
            f"{chosen}: rank {distributed.rank()} does not see the checkpoint to go on from; "
            "set tracking.runs_dir, or trainer.checkpoint_dir, to a folder that all nodes share"
        )
    return Path(chosen) if chosen else None


def same_data(before: Mapping[str, Any] | None, run: RunHandle) -> None:
    """Make sure that a training goes on with the tracks and classes that it began with.

    Args:
        before: What the run knew of its data before it went on; None: nothing.
        run: Knows its data by now; those from before are noted again where they differ.

    Raises:
        UserError: They are others.
    """
    now = run.known("data")
    if not before or not now:
        return
    names = {"classes_fingerprint": "classes", "split_fingerprint": "tracks"}
    changed = [name for key, name in names.items() if before.get(key) != now.get(key)]
    if changed:
        run.set_info(data=before)
        then, here = (f"{data['classes']} classes and {_counted(data['tracks'])} tracks" for data in (before, now))
        raise UserError(
            f"run {run.key} began with other {' and '.join(changed)} ({then}, now {here}), and its checkpoint is of "
            "those: bring them back, or begin anew without resume=True"
        )


def _counted(tracks: Mapping[str, int]) -> str:
    return " + ".join(f"{number} {split}" for split, number in tracks.items())


def _newest(settings: PretrainSettings, run: RunHandle) -> tuple[Path, int] | None:
    """The checkpoint of the origin with the most optimiser steps, and their number; kept ones where no other is whole.

    Raises:
        UserError: There are checkpoints, but none to go on from.
    """
    folder, useless = checkpoint_folder(settings.trainer, run.origin), []
    newest = [*(folder / f"{name}.ckpt" for name in (LAST, INTERRUPTED)), *run.origin.glob(REQUEUED)]
    for paths in (newest, folder.glob(KEPT)):
        found: list[tuple[int, float, Path]] = []
        for path in filter(Path.is_file, paths):
            try:
                made_by, step = _origin_and_step(path)
            except UserError as error:
                useless.append(str(error))
                continue
            if made_by != run.fingerprint:
                say(f"{path} is of a run with other settings: ignored")
                continue
            found.append((step, path.stat().st_mtime, path))
        if found:
            step, _, path = max(found)
            for reason in useless:
                say(f"{reason}: passed over")
            return path, step
    if useless:
        raise UserError(
            f"{'; '.join(useless)}; run {run.origin.name} has no other checkpoint to go on from: "
            "delete or move it and resume, or begin anew without resume=True"
        )
    return None


def _origin_and_step(path: Path) -> tuple[str | None, int]:
    """Which settings a checkpoint is of, as a fingerprint, and after how many optimiser steps it was written.

    Raises:
        UserError: It is damaged, or not the state of a training; a clause.
    """
    try:
        content = load_pickled(path, mmap=True)
    except (CheckpointError, OSError) as error:
        raise UserError(f"{path} is damaged or cut short") from error
    try:
        lacking = [key for key in NEEDED if key not in content]
        made_by, step = content["hyper_parameters"].get("run_fingerprint"), int(content["global_step"])
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is no checkpoint of a training") from error
    if lacking:
        raise UserError(f"{path} holds no state of a training to go on from (no {', '.join(lacking)})")
    return made_by, step


def _claim(folder: Path, run: RunHandle) -> None:
    """Note in a folder whose checkpoints it holds from now on.

    Raises:
        UserError: Those of another run, which would be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            _refuse_foreign(folder, run)
            with replaced(folder / OWNER) as aside:
                aside.write_text(json.dumps({"run": str(run.directory)}) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder}: no checkpoints can be written there ({error.strerror or error}); set trainer.checkpoint_dir"
        ) from error


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of runs that begin at the same time one looks first.

    Raises:
        UserError: Another one does not get done.
        OSError: There can be no lock file.
    """
    lock = open_lock(folder / CLAIM)
    try:
        if not wait_exclusive(lock, CLAIM_SECONDS):
            raise UserError(f"{folder}: another run has been beginning there for {CLAIM_SECONDS:.0f} s; is it frozen?")
        yield
    finally:
        close_lock(lock)


def _refuse_foreign(folder: Path, run: RunHandle) -> None:
    owner: Path | None = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        owner = Path(json.loads((folder / OWNER).read_text(encoding="utf-8"))["run"])
    held = sorted(path.name for path in folder.glob("*.ckpt") if path.stem in (BEST, LAST, INTERRUPTED))
    alive = owner is not None and owner != run.directory and (owner / "journal.jsonl").is_file()
    alive = alive and run_state(owner) == "running"
    ours = owner is not None and owner in (run.directory, run.origin)
    if not ours and (held or alive):
        how = _how(owner) if owner else ""
        whose = f"run {owner.name} ({how})" if owner else "another training"
        go_on = f", or go on with {owner.name}: its own command with resume=True" if how in UNFINISHED else ""
        raise UserError(
            f"{folder} holds {', '.join(held) or 'the checkpoints-to-be'} of {whose}, which this run would overwrite; "
            f"choose another trainer.checkpoint_dir, or remove them{go_on}"
        )


def _how(run_dir: Path) -> str:
    """How a run stands, in a word."""
    if not (run_dir / "journal.jsonl").is_file():
        return "removed since"
    end = liveness.end_of(run_dir)
    return end["status"].lower() if end else run_state(run_dir)
