"""The verbs that look after the records: taken from the command line before Sacred, which knows no positional words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from experiments.errors import UserError
from experiments.tracking import overrides
from experiments.tracking.masking import for_terminal
from experiments.tracking.settings import TrackingSettings


class _Settings(BaseModel):
    """What verbs take of an experiment's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracking: TrackingSettings = TrackingSettings()


def tracking_settings(assignments: Sequence[str]) -> TrackingSettings:
    """The settings that `tracking.KEY=VALUE ...` stand for.

    Raises:
        UserError: A setting does not exist, or has another type.
    """
    return overrides.compose(_Settings, {}, assignments).settings.tracking


def sync(arguments: Sequence[str]) -> int:
    """Send what the database has not got yet: `sync [RUN_OR_FOLDER ...] [with tracking.mongo_url=...]`.

    Returns:
        0, or 1 when a run could not be sent.

    Raises:
        UserError: No database, one that does not answer, or a folder that does not exist.
    """
    from experiments.tracking.location import located
    from experiments.tracking.sync import sync as send_all

    folders, tokens = _split(arguments)
    tracking = tracking_settings(tokens)
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing:
        raise UserError(f"sync {missing[0]}: no such folder; name run directories or folders of them")
    with located(tracking) as location:
        if location.url is None:
            raise UserError(location.line)
        database = location.connect()
        try:
            report = send_all(
                database,
                runs=folders,
                max_points=tracking.max_points,
                upload_limit_mb=tracking.upload_limit_mb,
                show=True,
            )
        finally:
            database.client.close()
    print(for_terminal(report))
    return 1 if report.failed else 0


def server(arguments: Sequence[str]) -> int:
    """`server status`: whether the embedded database runs, and where; `server stop`: stop it, even when it is in use.

    Returns:
        0, or 1 when none is running.

    Raises:
        UserError: Another word, or the server's directory is not usable.
    """
    from experiments.tracking import server as embedded

    if list(arguments) == ["status"]:
        state = embedded.status()
        if state is None:
            print("no embedded MongoDB is running")
            return 1
        where = state.socket or (f"127.0.0.1:{state.port}" if state.port else "an unknown address")
        print(f"MongoDB {state.version} runs as process {state.pid} at {where}")
        return 0
    if list(arguments) == ["stop"]:
        stopped = embedded.stop()
        print("stopped" if stopped else "no embedded MongoDB is running")
        return 0 if stopped else 1
    raise UserError(f"server {' '.join(arguments)}".rstrip() + ": expected server status or server stop")


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Folders before `with`, assignments after it or anywhere."""
    words = [word for word in arguments if word != "with"]
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]
