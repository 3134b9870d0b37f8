"""Sacred's edge: a command line becomes typed settings, a command becomes a recorded run.

    ex = Experiment("ex_pretrain", PretrainSettings, NAMED_CONFIGS)

    @ex.main
    def main(settings: PretrainSettings, run: RunHandle) -> dict[str, float]: ...

    if __name__ == "__main__":
        ex.run_commandline()

The command line is read and checked before a directory is made or a server looked for, so a typo costs nothing. Sacred
is the command line, the configuration and the Run underneath; its observers, capture and discovery are not used.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import pdb
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import sacred
from docopt import DocoptExit, docopt
from pydantic import BaseModel
from sacred.arg_parser import format_usage
from sacred.config import ConfigDict
from sacred.config.config_summary import ConfigSummary

from experiments import distributed
from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.tracking import lifecycle, overrides, ranks, renaming
from experiments.tracking.console import set_up_logging
from experiments.tracking.masking import for_terminal, mask
from experiments.tracking.overrides import Composition
from experiments.tracking.run import RunHandle
from experiments.tracking.schema import descriptions
from experiments.tracking.values import storable
from models.fingerprint import fingerprint

S = TypeVar("S", bound=BaseModel)
Command = Callable[[Any, RunHandle], Any]

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
TRANSIENT = ("tracking", "resume")  # settings that do not change what a run computes
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Experiment(Generic[S]):
    """A script of commands that share their settings.

    Args:
        name: shown in the run browser; the script's name without `.py`.
        settings: pydantic model, frozen, unknown keys forbidden, a default for every key, with the fields `seed: int`
            and `tracking: TrackingSettings`.
        named_configs: what can follow `with` besides assignments.
        resumable: commands that go on with an earlier run where the setting `resume` is true, or the launcher repeats
            them by itself.
        alone: commands that several processes cannot do together.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        named_configs: Mapping[str, NamedConfig],
        resumable: Sequence[str] = (),
        alone: Sequence[str] = (),
    ):
        caller = sys._getframe(1).f_globals
        self.name, self.model, self.named_configs = name, settings, dict(named_configs)
        self._resumable, self._alone = frozenset(resumable), frozenset(alone)
        self.script = Path(caller.get("__file__", f"{name}.py")).absolute()
        self._commands: dict[str, Command] = {}
        self._default: str | None = None
        _quiet_sacred()
        self.sacred = sacred.Experiment(name, base_dir=str(self.script.parent), save_git_info=False)
        self.sacred.doc = _description(caller.get("__doc__"), self.script)
        self.sacred.logger = set_up_logging()
        for command in ("print_dependencies", "save_config"):
            del self.sacred.commands[command]
        for key, named in self.named_configs.items():
            config = ConfigDict(dict(named.values))
            config.__doc__ = named.description
            self.sacred.named_configs[key] = config

    def command(self, function: Command) -> Command:
        """Make `function(settings, run)` a command of its name; what it returns is the run's result."""
        name = function.__name__

        def command(_run: Any) -> Any:
            return _run.call()

        command.__name__, command.__doc__ = name, function.__doc__
        self.sacred.command(command)
        self._commands[name] = function
        return function

    def main(self, function: Command) -> Command:
        """`command`, and what runs when none is named."""
        self._default = function.__name__
        self.sacred.default_command = function.__name__
        return self.command(function)

    def run_commandline(self, argv: Sequence[str] | None = None) -> Any:
        """Do what a command line asks for and return the command's result.

        Args:
            argv: as `sys.argv`.

        Raises:
            SystemExit: with the exit code, where it is not 0.
        """
        argv = list(sys.argv if argv is None else argv)
        argv = argv[:-1] if argv[-1] == "with" else argv
        with contextlib.nullcontext() if ranks.is_global_zero() else ranks.silence():
            result, code = self._answer(argv)
        if code:
            sys.exit(code)
        return result

    def _answer(self, argv: list[str]) -> tuple[Any, int]:
        """The result and the exit code of a command line."""
        try:
            if len(argv) > 1 and argv[1] in VERBS:
                if not ranks.is_global_zero():
                    return None, lifecycle.SUCCESS
                module, function, _ = VERBS[argv[1]]
                result, code = None, getattr(importlib.import_module(module), function)(argv[2:]) or 0
            else:
                result, code = self._obey(argv)
        except UserError as error:
            print(f"error: {for_terminal(error)}", file=sys.stderr)
            result, code = None, lifecycle.FAILURE
        except KeyboardInterrupt as error:  # before a run began, or after it ended
            print("interrupted", file=sys.stderr)
            result, code = None, lifecycle.exit_code(error)
        return result, code

    def _obey(self, argv: list[str]) -> tuple[Any, int]:
        words = self._words(argv)
        if words[:1] == ["help"] or {"-h", "--help"} & set(argv[1:]):
            self._help(next((word for word in words if word != "help"), None))
            return None, lifecycle.SUCCESS
        options = self._options(argv)
        command = options["COMMAND"] or self._default
        composition = overrides.compose(self.model, self.named_configs, options["UPDATE"] or [])
        if command not in self._commands:
            self._show(command, composition, options)
            return None, lifecycle.SUCCESS
        if command in self._alone and (found := distributed.launch()):
            raise UserError(
                f"{command} is done by one process, and {found.launcher} started {found.world_size}: "
                f"start it by itself, python {self.script.name} {command}"
            )
        return self._run(command, composition, options, argv)

    def _words(self, argv: list[str]) -> list[str]:
        """What stands before `with` besides options: `help` and a command at most.

        Raises:
            UserError: Anything else; names what was probably meant.
        """
        takes_value = {flag for option in self.sacred.all_cli_options if option.arg for flag in option.get_flags()}
        words, skip = [], False
        for token in argv[1:]:
            if token == "with":
                break
            if not skip and not token.startswith("-"):
                words.append(token)
            skip = token in takes_value
        script = Path(argv[0]).name
        for position, word in enumerate(words):
            if "=" in word or word in self.named_configs:
                before = " ".join([script, *words[:position]])
                raise UserError(f"{word}: 'with' is missing; write: python {before} with {' '.join(words[position:])}")
        commands = self._command_names()
        if words and words[0] != "help" and words[0] not in commands:
            near = overrides.suggestion(words[0], [*commands, *VERBS, "help"])
            raise UserError(f"no command {words[0]!r}{near or '; there are: ' + ', '.join([*commands, *VERBS])}")
        if len(words) > 1 and words[0] != "help":
            raise UserError(f"{words[1]}: a command takes settings after 'with', and nothing else")
        return words

    def _command_names(self) -> list[str]:
        return list(self.sacred.commands)

    def _options(self, argv: list[str]) -> dict[str, Any]:
        _, _, usage = self.sacred.get_usage()
        try:
            options = dict(docopt(usage, argv[1:], default_help=False))
        except DocoptExit as error:
            said = str(error).split("\n")[0]
            reason = said if not said.startswith("Usage") else f"cannot read {' '.join(argv[1:])!r}"
            raise UserError(f"{mask(reason)}; see: python {Path(argv[0]).name} --help") from None
        shorts = {option.get_flag(): option.get_short_flag() for option in self.sacred.all_cli_options}
        for flag, remedy in REFUSED.items():
            if options.get(flag):
                raise UserError(f"{shorts.get(flag, flag)} ({flag}) is not used here: {remedy}")
        if (beat := options["--beat-interval"]) is not None:
            _check_beat(beat)
        if (level := options["--loglevel"]) is not None and not re.fullmatch(
            r"\d+|DEBUG|INFO|WARNING|ERROR|CRITICAL", level
        ):
            raise UserError(f"-l {level}: expected DEBUG, INFO, WARNING, ERROR, CRITICAL or a number")
        return options

    def _help(self, command: str | None) -> None:
        if command is not None:
            if command not in self.sacred.commands:
                raise UserError(f"no command {command!r}{overrides.suggestion(command, self._command_names())}")
            function = self._commands.get(command) or self.sacred.commands[command]
            print(f"{command}\n\n    {(function.__doc__ or '').strip()}")
            return
        kept = [option for option in self.sacred.all_cli_options if option.get_flag() not in REFUSED]
        print(format_usage(self.script.name, self.sacred.doc, dict(self.sacred.gather_commands()), kept))

    def _show(self, command: str, composition: Composition[S], options: Mapping[str, Any]) -> None:
        """Run one of Sacred's own commands, which leave no run; without colours where nobody sees them."""
        run = self._sacred_run(command, composition, options)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            run()
        text = out.getvalue()
        sys.stdout.write(text if sys.stdout.isatty() else _ANSI.sub("", text))

    def _sacred_run(self, command: str, composition: Composition[S], options: Mapping[str, Any]) -> Any:
        """Sacred's Run of a command, its configuration the validated settings as plain values without secrets."""
        plain = stored_config(composition.settings)
        seed = plain.get("seed", 0)
        self.sacred.configurations = [ConfigDict({"seed": seed})]
        given = {key: value for key, value in options.items() if key.startswith("--") and key != "--print-config"}
        run = self.sacred._create_run(command, {}, (), {}, {}, given)
        run.config = plain
        run.config_modifications = ConfigSummary(modified=composition.delta, docs=descriptions(composition.schema))
        if options["--loglevel"] is None:
            run.run_logger.setLevel(logging.CRITICAL)  # its start and end are said in our words
        if options["--print-config"]:
            sacred.commands.print_config(run)
        return run

    def _run(
        self, command: str, composition: Composition[S], options: Mapping[str, Any], argv: Sequence[str]
    ) -> tuple[Any, int]:
        settings = _for_commands(composition.settings)

        def call(handle: RunHandle) -> Any:
            return self._commands[command](settings.model_copy(update={"seed": handle.seed}), handle)

        if not ranks.is_global_zero():
            try:
                return None, ranks.follow(call, settings.tracking.runs_dir, settings.seed)
            finally:
                distributed.leave()
        distributed.join()
        others = ranks.Others()

        def call_together(handle: RunHandle) -> Any:
            others.tell(handle)
            return call(handle)

        try:
            if options["--unobserved"]:
                return self._try(self._sacred_run(command, composition, options), call_together, options)
            return self._record(command, composition, options, argv, call_together)
        finally:
            others.dismiss()
            distributed.leave()

    def _try(self, run: Any, call: Callable[[RunHandle], Any], options: Mapping[str, Any]) -> tuple[Any, int]:
        """An unobserved run: its files go to a folder that is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="ostinato-", ignore_cleanup_errors=True) as folder, lifecycle.signals():
            print(f"Not recorded (-u): files go to {folder} until the end", file=sys.stderr)
            handle = RunHandle(Path(folder), run.config["seed"])
            return _perform(run, lambda: call(handle), options)

    def _record(
        self,
        command: str,
        composition: Composition[S],
        options: Mapping[str, Any],
        argv: Sequence[str],
        call: Callable[[RunHandle], Any],
    ) -> tuple[Any, int]:
        """A recorded run, from the look at the repository to the last line on the terminal."""
        from experiments.tracking import provenance
        from experiments.tracking.observer import Facts
        from experiments.tracking.session import Plan, Session, experiment_info, read_revision

        tracking = composition.settings.tracking
        changed = {key: value for key, value in composition.delta.items() if key.split(".")[0] not in TRANSIENT}
        delta = mask(overrides.nested(changed))
        former = mask(overrides.nested(renaming.former(changed)))
        name = fingerprint({"experiment": self.name, "command": command, "delta": former})
        facts = Facts(
            tags=(*composition.named, *tracking.tags),
            info={"delta": delta, "fingerprint": name},
            group=tracking.group,
            argv=tuple(argv),
            updates=overrides.nested(composition.updates),
            named=composition.named,
        )
        with lifecycle.signals():
            revision = read_revision(self.script, options["--enforce_clean"])
            wanted = getattr(composition.settings, "resume", False) or distributed.restarted()
            resume = command in self._resumable and wanted
            plan = Plan(tracking, self.script, name, composition.settings.seed, facts, revision, resume)
            run = self._sacred_run(command, composition, options)
            run.experiment_info = experiment_info(run.experiment_info["name"], plan)
            run.host_info = provenance.host()
            with Session(plan) as session:
                session.watch(run)
                result, code = _perform(run, lambda: call(session.handle), options, session)
                try:
                    if not session.conclude(run.status):
                        code = code or lifecycle.FAILURE
                except KeyboardInterrupt as error:
                    code = lifecycle.exit_code(error)
                return result, code


def stored_config(settings: BaseModel) -> dict[str, Any]:
    """Settings as they are stored: plain, without secrets, without labels."""
    plain = settings.model_dump(mode="json")
    plain.get("tracking", {}).pop("tags", None)
    return mask(storable(plain)[0])


def _for_commands(settings: S) -> S:
    """Settings as commands get them: the database's password is none of their business, the seed is rank zero's."""
    tracking = settings.tracking.model_copy(update={"mongo_url": mask(settings.tracking.mongo_url)})
    seed = os.environ.get(ranks.SEED_VARIABLE) if not ranks.is_global_zero() else None
    return settings.model_copy(update={"tracking": tracking} | ({"seed": int(seed)} if seed else {}))


def _perform(run: Any, call: Callable[[], Any], options: Mapping[str, Any], session: Any = None) -> tuple[Any, int]:
    """Let Sacred run the command; how it ended is said before Sacred hears of it, so that the log is whole."""
    said: list[BaseException] = []

    def report(error: BaseException) -> None:
        said.append(error)
        distributed.report_failure(ranks.label(), "")
        lifecycle.report(error, session.note if session else None, full=options["--debug"])

    def reported() -> Any:
        try:
            with session.watched() if session else contextlib.nullcontext():
                return lifecycle.normalised(call)
        except BaseException as error:
            until.enter_context(lifecycle.ending())
            failed = ranks.failure_behind(error, session.handle.directory) if session else None
            report(failed or error)
            if failed is not None:
                raise failed from error
            raise

    run.call, until = reported, contextlib.ExitStack()  # until Sacred has heard of a failure
    try:
        with until:
            run()
    except BaseException as error:
        if not said:
            report(error)
        if options["--pdb"] and not isinstance(error, KeyboardInterrupt):
            pdb.post_mortem(error.__traceback__)
        return None, lifecycle.exit_code(error)
    return run.result, lifecycle.SUCCESS


def _check_beat(text: str) -> None:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_BEAT:
        raise UserError(f"-b {text}: expected more than 0 and at most {LONGEST_BEAT:g} seconds between heartbeats")


def _quiet_sacred() -> None:
    """Sacred neither captures output nor looks for sources, packages and cards: this is done here, and cannot fail."""
    sacred.SETTINGS.CAPTURE_MODE = "no"
    sacred.SETTINGS.DISCOVER_SOURCES = "none"
    sacred.SETTINGS.DISCOVER_DEPENDENCIES = "none"
    sacred.SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
    sacred.SETTINGS.HOST_INFO.INCLUDE_CPU_INFO = False


def _description(doc: str | None, script: Path) -> str:
    verbs = "\n".join(f"  python {script.name} {verb:<12}{what}" for verb, (_, _, what) in VERBS.items())
    return f"{(doc or '').strip()}\n\nBesides the commands below:\n{verbs}"
