"""A command line before anything happens: which command, with which options and settings, and what is refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sacred
from docopt import DocoptExit, docopt
from sacred.arg_parser import format_usage

from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.tracking.masking import mask
from experiments.tracking.overrides import suggestion

VERBS = {  # taken from the command line before Sacred: module, function of the words that follow, what it does
    "sync": ("experiments.tracking.cli", "sync", "Send what the database has not got yet."),
    "dashboard": ("experiments.tracking.dashboard", "main", "Open the run browser."),
    "server": ("experiments.tracking.cli", "server", "status, stop: the embedded database."),
}
REFUSED = {
    "--id": "runs are numbered by the database; give a name with -n or a comment with -c",
    "--mongo_db": "set tracking.mongo_url or the variable OSTINATO_MONGO_URL",
    "--sql": "runs are kept as files and in MongoDB; -F DIR adds Sacred's own files",
    "--tiny_db": "runs are kept as files and in MongoDB; -F DIR adds Sacred's own files",
    "--s3": "runs are kept as files and in MongoDB; -F DIR adds Sacred's own files",
    "--gcs": "runs are kept as files and in MongoDB; -F DIR adds Sacred's own files",
    "--capture": "set tracking.capture to python or fd",
    "--queue": "runs are not queued; start it without -q",
    "--priority": "runs are not queued; start it without -P",
    "--force": "an unknown key is always an error; the message names the nearest one",
}
LONGEST_BEAT = 60.0  # s; the run browser takes a run without a heartbeat for 120 s for dead
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes:
        argv: as `sys.argv`.
        command: None for the main one.
        options: by their long names, with `--`.
        tokens: what follows `with`.
        help: whether only an explanation is asked for.
    """

    argv: tuple[str, ...]
    command: str | None
    options: Mapping[str, Any]
    tokens: tuple[str, ...]
    help: bool = False


def parse(argv: Sequence[str], experiment: sacred.Experiment, named_configs: Mapping[str, NamedConfig]) -> Request:
    """Read a command line.

    Args:
        argv: as `sys.argv`.
        experiment: whose commands and options there are.
        named_configs: by name.

    Raises:
        UserError: It cannot be read; names what was probably meant.
    """
    words = _words(argv, experiment, named_configs)
    if words[:1] == ["help"] or {"-h", "--help"} & set(argv[1:]):
        command = next((word for word in words if word != "help"), None)
        if command is not None and command not in experiment.commands:
            raise UserError(f"no command {command!r}{suggestion(command, experiment.commands)}")
        return Request(tuple(argv), command, {}, (), help=True)
    grammar = format_usage(Path(argv[0]).name, experiment.doc, {}, experiment.all_cli_options)
    try:
        options = dict(docopt(grammar, argv[1:], default_help=False))
    except DocoptExit as error:
        message = str(error).split("\n")[0]
        reason = message if not message.startswith("Usage") else f"cannot read {' '.join(argv[1:])!r}"
        raise UserError(f"{mask(reason)}; see: python {Path(argv[0]).name} --help") from None
    _check_options(options, experiment)
    return Request(tuple(argv), options.pop("COMMAND"), options, tuple(options.pop("UPDATE") or ()))


def usage(script: str, experiment: sacred.Experiment, command: str | None = None) -> str:
    """The explanation of a script, or of one of its commands."""
    if command is not None:
        return f"{command}\n\n    {(experiment.commands[command].__doc__ or '').strip()}"
    verbs = "\n".join(f"  python {script} {verb:<12}{what}" for verb, (_, _, what) in VERBS.items())
    doc = f"{experiment.doc.strip()}\n\nBesides the commands below:\n{verbs}"
    kept = [option for option in experiment.all_cli_options if option.get_flag() not in REFUSED]
    return format_usage(script, doc, dict(experiment.gather_commands()), kept)


def listing(named_configs: Mapping[str, NamedConfig]) -> str:
    """The named configs, each with its line, under the headings of their groups."""
    groups: dict[str, list[str]] = {}
    width = max(map(len, named_configs), default=0)
    for name, config in named_configs.items():
        groups.setdefault(config.group, []).append(f"  {name:<{width}}   # {config.description}")
    return "\n\n".join("\n".join([group or "Named configs", *lines]) for group, lines in groups.items())


def _words(argv: Sequence[str], experiment: sacred.Experiment, named_configs: Mapping[str, NamedConfig]) -> list[str]:
    """What stands before `with` besides options: `help` and a command at most."""
    takes_value = {flag for option in experiment.all_cli_options if option.arg for flag in option.get_flags()}
    words, skip = [], False
    for token in argv[1:]:
        if token == "with":
            break
        if not skip and not token.startswith("-"):
            words.append(token)
        skip = token in takes_value
    script = Path(argv[0]).name
    for position, word in enumerate(words):
        if "=" in word or word in named_configs:
            before = " ".join([script, *words[:position]])
            raise UserError(f"{word}: 'with' is missing; write: python {before} with {' '.join(words[position:])}")
    commands = [*experiment.commands, *VERBS]
    if words and words[0] != "help" and words[0] not in experiment.commands:
        if other := _script_of(words[0], Path(experiment.base_dir)):
            again = mask(shlex.join(["python", other, *argv[1:]]))
            raise UserError(f"{words[0]} is a command of {other}: {again}")
        near = suggestion(words[0], [*commands, "help"])
        raise UserError(f"no command {words[0]!r}{near or '; there are: ' + ', '.join(commands)}")
    if len(words) > 1 and words[0] != "help":
        raise UserError(f"{words[1]}: a command takes settings after 'with', and nothing else")
    return words


def _script_of(command: str, folder: Path) -> str | None:
    """The script of the folder that has a command, found in its text: importing one would take its settings along."""
    defined = re.compile(rf"^@ex\.(?:command|main)\ndef {re.escape(command)}\(", re.MULTILINE)
    scripts = sorted(folder.glob("ex_*.py"))
    return next((file.name for file in scripts if defined.search(file.read_text(encoding="utf-8"))), None)


def _check_options(options: Mapping[str, Any], experiment: sacred.Experiment) -> None:
    shorts = {option.get_flag(): option.get_short_flag() for option in experiment.all_cli_options}
    for flag, remedy in REFUSED.items():
        if options.get(flag):
            raise UserError(f"{shorts.get(flag, flag)} ({flag}) is not used here: {remedy}")
    beat, level = options["--beat-interval"], options["--loglevel"]
    if beat is not None and not (re.fullmatch(r"\d*\.?\d+|\d+\.", beat) and 0 < float(beat) <= LONGEST_BEAT):
        raise UserError(f"-b {beat}: expected more than 0 and at most {LONGEST_BEAT:g} seconds between heartbeats")
    if level is not None and not (level.isdecimal() or level in LEVELS):
        raise UserError(f"-l {level}: expected {', '.join(LEVELS)} or a number")
