"""Assignments are read by the type of their key; typos are named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.tracking import overrides, schema
from experiments.tracking.overrides import Composition


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Section):
    kind: Literal["linear", "cosine"] = "linear"
    steps: tuple[int, ...] = (1, 2)


class Optimizer(Section):
    lr: Annotated[float, Field(gt=0, le=1, description="factor of the step")] = 0.1
    decay: float | None = None
    nesterov: bool = False
    schedule: Schedule = Schedule()


class Target(Section):
    name: str
    classes: int = 10


class Settings(Section):
    seed: int = 0
    folder: Path = Path("runs")
    label: str = ""
    checkpoint: str | None = None
    block: int | list[int] = 6
    names: list[str] = []
    optimizer: Optimizer = Optimizer()
    target: Target | None = None
    stores: dict[str, str] = {}
    free: dict[str, object] = {}

    @model_validator(mode="after")
    def _seed_and_label(self) -> Settings:
        if self.seed == 13 and self.label:
            raise ValueError("seed=13 takes no label")
        return self


NAMED = {
    "slow": NamedConfig("Small steps.", {"optimizer": {"lr": 0.001, "schedule": {"steps": [9]}}}),
    "wavy": NamedConfig("Cosine.", {"optimizer": {"schedule": {"kind": "cosine"}}, "names": ["a", "b"]}),
    "mtt": NamedConfig("A section where there is none.", {"target": {"name": "mtt"}}),
    "broken": NamedConfig("With a typo.", {"optimizer": {"schedul": {"kind": "cosine"}}}),
}


def compose(*tokens: str) -> Composition[Settings]:
    return overrides.compose(Settings, NAMED, tokens)


@pytest.mark.parametrize(
    ("token", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("seed=1e3", "seed", 1000),
        ("folder=/data/x", "folder", "/data/x"),
        ("folder=2024", "folder", "2024"),
        ("label=123", "label", "123"),
        ("label='quoted'", "label", "quoted"),
        ("label=[a]", "label", "[a]"),
        ("label=a=b", "label", "a=b"),
        ("checkpoint=model.ckpt", "checkpoint", "model.ckpt"),
        ("block=[6,7]", "block", [6, 7]),
        ("block=7", "block", 7),
        ("names=[maest, x]", "names", ["maest", "x"]),
        ("names=a,b", "names", ["a", "b"]),
        ("names=['a']", "names", ["a"]),
        ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.nesterov=true", "optimizer.nesterov", True),
        ("optimizer.decay=0.5", "optimizer.decay", 0.5),
        ("optimizer.schedule.kind=cosine", "optimizer.schedule.kind", "cosine"),
        ("optimizer.schedule.steps=3,4,5", "optimizer.schedule.steps", [3, 4, 5]),
        ("stores.mine=/data/store", "stores.mine", "/data/store"),
        ("free.anything.at.all=[1, 'x']", "free.anything.at.all", [1, "x"]),
    ],
)
def test_values_are_read_by_type(token: str, key: str, value: object) -> None:
    found = compose(token)
    assert found.delta == {key: value}
    assert list(found.updates) == [key]


def test_none_is_none_and_never_a_text() -> None:
    assert compose("slow", "optimizer.decay=None").settings.optimizer.decay is None
    assert compose("checkpoint=null").settings.checkpoint is None
    with pytest.raises(UserError, match="label=None: should be a valid string"):
        compose("label=None")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("optimizer.lr=abc", "optimizer.lr=abc: should be a valid number"),
        ("optimizer.lr=1e-3,", "should be a valid number"),
        ("optimizer.lr=-1", "optimizer.lr=-1: should be greater than 0"),
        ("optimizer.lr=2", "should be less than or equal to 1"),
        ("optimizer.lr=nan", "optimizer.lr=nan"),
        ("optimizer.decay=inf", "should be a finite number"),
        ("optimizer.decay=some", "optimizer.decay=some: should be a valid number or None"),
        ("seed=5.5", "seed=5.5: should be a valid integer"),
        ("seed=True", "seed=True: should be a valid integer"),
        ("optimizer.schedule.kind=line", r"should be 'linear' or 'cosine' (did you mean 'linear'?)"),
        ("optimizer=3", "optimizer is a section; set one of its keys: optimizer.lr"),
        ("seed.x=3", "seed is a value, not a section"),
        ("target.classes=3", "target.name"),
    ],
)
def test_refused_values_name_key_value_and_expectation(token: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(token)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("token", "nearest"),
    [
        ("sed=1", "seed"),
        ("optimiser.lr=1", "optimizer.lr"),
        ("optimizer.rl=1", "optimizer.lr"),
        ("optimizer.schedule.knd=linear", "optimizer.schedule.kind"),
        ("optimizer.scedule.kind=linear", "optimizer.schedule.kind"),
        ("lr=0.1", "optimizer.lr"),
        ("optimizer={'decy': 1}", "optimizer.decay"),
        ("broken", "optimizer.schedule"),
    ],
)
def test_typos_at_any_depth_name_the_nearest_key(token: str, nearest: str) -> None:
    with pytest.raises(UserError, match=rf"did you mean {nearest}\?"):
        compose(token)


def test_unknown_key_lists_what_there_is() -> None:
    with pytest.raises(UserError, match="there are: seed, folder, label"):
        compose("zzzzzz=1")


def test_unknown_named_config_suggests_one() -> None:
    with pytest.raises(UserError, match="no named config 'slwo': did you mean 'slow'"):
        compose("slwo")


def test_a_file_of_the_name_of_a_named_config_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slow").write_text("not a config")
    assert compose("slow").settings.optimizer.lr == 0.001
    Path("other.yaml").write_text("seed: 3")
    with pytest.raises(UserError, match=r"no named config 'other\.yaml'"):
        compose("other.yaml")


@pytest.mark.parametrize("tokens", [("seed", "=", "3"), ("seed=", "3"), ("seed", "=3")])
def test_spaces_around_the_equals_sign(tokens: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"no spaces around '=': write seed=(3|VALUE)"):
        compose(*tokens)


def test_precedence() -> None:
    """Assignments win wherever they stand; of named configs the later; sections merge, lists are replaced."""
    found = compose("optimizer.lr=0.5", "slow", "wavy", "names=[c]").settings
    assert found.optimizer.lr == 0.5
    assert found.optimizer.schedule == Schedule(kind="cosine", steps=(9,))
    assert found.names == ["c"]


def test_a_named_config_fills_a_section_that_is_none() -> None:
    found = compose("mtt", "target.classes=50")
    assert found.settings.target == Target(name="mtt", classes=50)
    assert found.delta == {"target.name": "mtt", "target.classes": 50}
    assert found.named == ("mtt",)


def test_conditions_between_keys_are_reported() -> None:
    with pytest.raises(UserError, match="seed=13 takes no label"):
        compose("seed=13", "label=x")


def test_catalogue_is_not_changed_by_composing() -> None:
    compose("wavy", "names=[z]", "optimizer.schedule.kind=linear")
    assert NAMED["wavy"].values == {"optimizer": {"schedule": {"kind": "cosine"}}, "names": ["a", "b"]}


def test_descriptions_are_found_at_their_keys() -> None:
    assert schema.descriptions(Settings) == {"optimizer.lr": "factor of the step"}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
names = st.text("abcdefg", min_size=1, max_size=3)
trees = st.recursive(
    st.dictionaries(names, plain, min_size=1, max_size=3),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(trees)
def test_flat_and_nested_are_inverse(tree: dict[str, object]) -> None:
    assert overrides.nested(dict(overrides.flat(tree))) == tree


@given(st.floats(min_value=1e-6, max_value=1.0))
def test_any_number_in_range_is_read_as_it_is_written(number: float) -> None:
    assert compose(f"optimizer.lr={number!r}").settings.optimizer.lr == number


@given(st.text(max_size=20).filter(lambda text: text.strip() == text and text.lower() not in ("none", "null")))
def test_any_text_is_a_text_or_its_literal(text: str) -> None:
    found = compose(f"label={text}").settings.label
    assert found == text or repr(found)[1:-1] in text


def test_every_setting_is_explained():
    from experiments.settings import PretrainSettings, ProbeExperimentSettings
    from experiments.transfer.settings import TransferSettings

    def keys(model, prefix=""):
        for name in model.model_fields:
            below = schema.section_fields(model.model_fields[name].annotation)
            if below:
                inner = schema.models_in(model.model_fields[name].annotation)[0]
                yield from keys(inner, f"{prefix}{name}.")
            else:
                yield prefix + name

    for model in (PretrainSettings, ProbeExperimentSettings, TransferSettings):
        if hasattr(model, "following"):
            model = model.following("maest")
        said = schema.descriptions(model)
        assert [key for key in keys(model) if key not in said] == []


@pytest.mark.parametrize(
    "text",
    [
        "[{optimizer: adam, lr: 1e-4, epochs: 80}, {epochs: 2, nesterov: true, momentum: null, optimizer: sgd}]",
        '[{"optimizer": "adam", "lr": 0.0001, "epochs": 80}, '
        '{"epochs": 2, "nesterov": true, "momentum": null, "optimizer": "sgd"}]',
        "[{'optimizer': 'adam', 'lr': 1e-4, 'epochs': 80}, "
        "{'epochs': 2, 'nesterov': True, 'momentum': None, 'optimizer': 'sgd'}]",
    ],
    ids=["YAML", "JSON", "Python"],
)
def test_dictionaries_are_read_as_yaml_json_and_python_have_them(text):
    first, second = overrides.compose(PretrainSettings, {}, [f"module.phases={text}"]).settings.module.phases
    assert (first.optimizer, first.lr, first.epochs) == ("adam", 1e-4, 80)
    assert (second.optimizer, second.epochs, second.nesterov, second.momentum) == ("sgd", 2, True, None)


def test_values_in_dictionaries_have_the_types_that_they_are_written_in():
    words = ["module.augmentations=[{name: gain, low: -3, p: 0.5}, {name: mixup, alpha: 4e-1}]"]
    settings = overrides.compose(PretrainSettings, {}, words).settings
    assert settings.module.augmentations == [{"name": "gain", "low": -3, "p": 0.5}, {"name": "mixup", "alpha": 0.4}]
    assert overrides.compose(PretrainSettings, {}, ["trainer={max_epochs: 3}"]).settings.trainer.max_epochs == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[{optimizer: adam}]", "'epochs' is needed"),
        ("[{epochs: 2, rate: 3}]", "'rate' is no key here"),
        ("[{epochs: 2, optimizer: adm}]", "should be 'adamw', 'adam', 'sgd' or 'lars'"),
        ("[{epochs: 2, optimizer: adam]", r"should be \{key: value, \.\.\.\}"),
        ("[{epochs: 2, a: &b 1, c: !!python/object:os.system x}]", "'a' is no key here"),
    ],
)
def test_dictionaries_that_are_refused(text, why):
    with pytest.raises(UserError, match=rf"^module\.phases=.*: {why}"):
        overrides.compose(PretrainSettings, {}, [f"module.phases={text}"])
