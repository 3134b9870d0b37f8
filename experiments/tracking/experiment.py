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
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import sacred
from pydantic import BaseModel, SecretStr
from sacred.config import ConfigDict
from sacred.config.config_summary import ConfigSummary

from datasets.storable import storable
from experiments import distributed, let_interrupts_raise, renamed
from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.launcher import is_global_zero
from experiments.named_paths import check_given
from experiments.tracking import commandline, lifecycle, overrides, ranks
from experiments.tracking.commandline import VERBS, Request
from experiments.tracking.console import set_up_logging
from experiments.tracking.masking import HIDDEN, for_terminal, mask
from experiments.tracking.overrides import Composition
from experiments.tracking.run import RunHandle
from experiments.tracking.schema import descriptions
from models.fingerprint import fingerprint

S = TypeVar("S", bound=BaseModel)
Command = Callable[[Any, RunHandle], Any]

TRANSIENT = ("tracking", "resume")  # settings that do not change what a run computes
NOTHING_ASKED = 2  # exit code of a command line that says nothing, where that is too little
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Experiment(Generic[S]):
    """A script of commands that share their settings.

    Args:
        name: shown in the run browser; the script's name without `.py`.
        settings: pydantic model, frozen, unknown keys forbidden, a default for every key, with the fields `seed: int`
            and `tracking: TrackingSettings`.
        named_configs: what can follow `with` besides assignments.
        resumable: commands that continue an earlier run where the setting `resume` is true, or the launcher repeats
            them by itself.
        alone: commands that several processes cannot do together.
        aliases: other names of commands.
        examples: what may be typed behind the script; where given, a command line with neither a command nor settings
            shows these and does nothing.
        around: what holds while a command works, given its settings and its run.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        named_configs: Mapping[str, NamedConfig],
        resumable: Sequence[str] = (),
        alone: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        examples: Sequence[str] = (),
        around: Callable[[S, RunHandle], contextlib.AbstractContextManager[object]] | None = None,
    ):
        caller = sys._getframe(1).f_globals
        self.name, self.model, self.named_configs = name, settings, dict(named_configs)
        self._resumable, self._alone, self._examples = frozenset(resumable), frozenset(alone), tuple(examples)
        self._aliases, self._around = dict(aliases or {}), around or (lambda settings, run: contextlib.nullcontext())
        self.script = Path(caller.get("__file__", f"{name}.py")).absolute()
        self._commands: dict[str, Command] = {}
        self._default: str | None = None
        _quiet_sacred()
        self.sacred = sacred.Experiment(name, base_dir=str(self.script.parent), save_git_info=False)
        self.sacred.doc = caller.get("__doc__") or ""
        self.sacred.logger = set_up_logging()
        for command in ("print_dependencies", "save_config"):
            del self.sacred.commands[command]

    def command(self, function: Command) -> Command:
        """Make `function(settings, run)` a command of its name; what it returns is the run's result."""
        names = [function.__name__, *(alias for alias, name in self._aliases.items() if name == function.__name__)]
        for name in names:

            def command(_run: Any) -> Any:
                return _run.call()

            command.__name__, command.__doc__ = name, function.__doc__
            self.sacred.command(command)
        self._commands[function.__name__] = function
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
        result = None
        with contextlib.nullcontext() if is_global_zero() else ranks.silence():
            try:
                result, code = self._verb(argv) if argv[1:2] and argv[1] in VERBS else self._obey(argv)
            except UserError as error:
                print(f"error: {for_terminal(error)}", file=sys.stderr)
                code = lifecycle.FAILURE
            except KeyboardInterrupt as error:  # before a run began, or after it ended
                print("interrupted", file=sys.stderr)
                code = lifecycle.exit_code(error)
        if code:
            sys.exit(code)
        return result

    def _verb(self, argv: Sequence[str]) -> tuple[None, int]:
        if not is_global_zero():
            return None, lifecycle.SUCCESS
        module, name, _ = VERBS[argv[1]]
        function = getattr(importlib.import_module(module), name)
        let_interrupts_raise()
        return None, function(argv[2:]) or lifecycle.SUCCESS

    def _obey(self, argv: Sequence[str]) -> tuple[Any, int]:
        """Answer a question, or run a command on this process, whatever its part in a distributed launch."""
        request = commandline.parse(argv, self.sacred, self.named_configs)
        if request.help:
            print(commandline.usage(self.script.name, self.sacred, request.command))
            return None, lifecycle.SUCCESS
        if self._examples and not request.command and not request.tokens:
            lines = "\n".join(f"  python {Path(argv[0]).name} {example}" for example in self._examples)
            print(f"Name what to run, for example:\n{lines}\nMore: --help, print_named_configs", file=sys.stderr)
            return None, NOTHING_ASKED
        command = request.command or self._default
        command = self._aliases.get(command, command)
        if command == "print_named_configs":
            print(commandline.listing(self.named_configs))
            return None, lifecycle.SUCCESS
        composition = overrides.compose(self.model, self.named_configs, request.tokens)
        if command not in self._commands:
            self._show(self._sacred_run(command, composition, request.options))
            return None, lifecycle.SUCCESS
        if command in self._alone and (launch := distributed.launch()):
            raise UserError(
                f"{command} is done by one process, and {launch.launcher} started {launch.world_size}: "
                f"start it by itself, python {self.script.name} {command}"
            )
        settings = _for_commands(composition.settings)
        others_wait = is_global_zero()

        def call(handle: RunHandle) -> Any:
            """Do the command, on every rank."""
            nonlocal others_wait
            if others_wait:
                others_wait = False
                ranks.tell_others(handle)
            handle.named = composition.named
            own = settings.model_copy(update={"seed": handle.seed})
            with self._around(own, handle):
                return self._commands[command](own, handle)

        with lifecycle.signals():
            if is_global_zero():
                distributed.join()
            try:
                if not is_global_zero():
                    return None, ranks.follow(call, settings.tracking.runs_dir, settings.seed)
                return self._run(command, composition, request, call)
            finally:
                if others_wait:
                    with contextlib.suppress(RuntimeError):  # they are gone already
                        ranks.tell_others(None)
                distributed.leave()

    def _show(self, run: Any) -> None:
        """Run one of Sacred's own commands, which leave no run; without colours where nobody sees them."""
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
            run.run_logger.setLevel(logging.CRITICAL)  # its start and end are reported in our words
        if options["--print-config"]:
            sacred.commands.print_config(run)
        return run

    def _run(
        self, command: str, composition: Composition[S], request: Request, call: Callable[[RunHandle], Any]
    ) -> tuple[Any, int]:
        """A run from the look at the repository to the last line on the terminal, or an unobserved one."""
        from experiments.tracking.session import RunPlan, Session, perform, read_revision

        check_given(composition.updates)
        options, tracking = request.options, composition.settings.tracking
        if options["--unobserved"]:
            run = self._sacred_run(command, composition, options)
            with tempfile.TemporaryDirectory(prefix="ostinato-", ignore_cleanup_errors=True) as folder:
                print(f"Not recorded (-u): files go to {folder} until the end", file=sys.stderr)
                handle = RunHandle(Path(folder), run.config["seed"])
                return perform(run, lambda: call(handle), options)
        name, document, meta = self._described(command, composition, request)
        revision = read_revision(self.script, options["--enforce_clean"])
        wanted = getattr(composition.settings, "resume", False) or distributed.restarted()
        resume = command in self._resumable and wanted
        plan = RunPlan(tracking, self.script, name, composition.settings.seed, document, meta, revision, resume)
        run = self._sacred_run(command, composition, options)
        with Session(plan) as session:
            session.watch(run)
            result, code = perform(run, lambda: call(session.handle), options, session)
            try:
                if not session.conclude(run.status):
                    code = code or lifecycle.FAILURE
            except KeyboardInterrupt as error:
                code = lifecycle.exit_code(error)
            return result, code

    def _described(
        self, command: str, composition: Composition[S], request: Request
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The fingerprint of a command and its settings, and what the run document and its `meta` say of them."""
        changed = {key: value for key, value in composition.delta.items() if key.split(".")[0] not in TRANSIENT}
        former = mask(overrides.nested(renamed.former(changed)))
        name = fingerprint({"experiment": self.name, "command": command, "delta": former})
        tracking, named = composition.settings.tracking, list(composition.named)
        document = {
            "info": {"delta": mask(overrides.nested(changed)), "fingerprint": name},
            "omniboard": {"tags": [*named, *tracking.tags]},
        }
        updates = overrides.nested(
            {key: HIDDEN if isinstance(value, SecretStr) else value for key, value in composition.updates.items()}
        )
        meta = {"named_configs": named, "config_updates": updates, "group": tracking.group, "argv": list(request.argv)}
        return name, document, meta


def stored_config(settings: BaseModel) -> dict[str, Any]:
    """Settings as they are stored: plain, without secrets, without labels."""
    plain = settings.model_dump(mode="json")
    plain.get("tracking", {}).pop("tags", None)
    return mask(storable(plain)[0])


def _for_commands(settings: S) -> S:
    """Settings as commands get them: the database's password is none of their business, the seed is rank zero's."""
    tracking = settings.tracking.model_copy(update={"mongo_url": mask(settings.tracking.mongo_url)})
    seed = os.environ.get(ranks.SEED_VARIABLE) if not is_global_zero() else None
    return settings.model_copy(update={"tracking": tracking} | ({"seed": int(seed)} if seed else {}))


def _quiet_sacred() -> None:
    """Sacred neither captures output nor looks for sources, packages and cards: this is done here, and cannot fail."""
    sacred.SETTINGS.CAPTURE_MODE = "no"
    sacred.SETTINGS.DISCOVER_SOURCES = "none"
    sacred.SETTINGS.DISCOVER_DEPENDENCIES = "none"
    sacred.SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
    sacred.SETTINGS.HOST_INFO.INCLUDE_CPU_INFO = False
