"""The network: the settings that every network has, and those that the chosen one brings.

The latter are the arguments of its constructor, so that a new network is its own documentation, and a key of another
network is an error. Nothing is imported before a network is chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from experiments.errors import UserError
from experiments.settings.base import Section
from models.arguments import fields_of

DEFAULT = "maest"


class ModelSettings(Section):
    """The network and its initial weights; `of_network` gives the class with the keys of a network."""

    kind: ClassVar[type | None] = None  # the network's class

    network: str = DEFAULT  # a network of this project, or package.module:Class; the keys below are its arguments
    frontend: str | None = None  # what makes its input, or package.module:Class; None: the network's own
    frontend_arguments: dict[str, Any] = Field(default_factory=dict)  # such as bands=128, over those of the network
    pretrained: str | None = None  # a release of models.releases to start from, downloaded once
    checkpoint: str | None = None  # a file, https://...[#sha256=...], run's folder or Hugging Face folder to start from
    checkpoint_discard_head: bool = False  # leave the heads of those weights out
    positions: Literal["stretch", "crop"] = "stretch"  # of weights of another length: all resized, or the first taken
    missing_blocks: Literal["refuse", "random"] = "refuse"  # where the weights have fewer blocks than `depth`

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the network that are settings."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in ModelSettings.model_fields}

    @property
    def allowed(self) -> frozenset[str]:
        """Modules outside of this project that the user named, which may be imported."""
        return frozenset(word.partition("=")[2].partition(":")[0] for word in self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """What a later command line has to repeat so that weights of this network can be opened."""
        given = {"model.network": self.network, "model.frontend": self.frontend}
        return tuple(f"{key}={value}" for key, value in given.items() if value and ":" in value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.pretrained and self.checkpoint:
            raise ValueError(f"pretrained={self.pretrained} and checkpoint={self.checkpoint}: give one of them")
        if self.frontend is not None:
            from models import frontends

            frontends.find(self.frontend, self.allowed)
        if self.frontend_arguments:
            self._check_frontend_arguments()
        if check := getattr(self.kind, "check", None):
            check(self.arguments)
        return self

    def _check_frontend_arguments(self) -> None:
        """Unless a checkpoint says which front end they are of, which is read later."""
        from models.frontends import build_with
        from models.network_input import own_frontend

        given = self.frontend_arguments
        try:
            if self.frontend is not None:
                build_with(self.frontend, {}, given, self.allowed)
            elif self.kind is not None and not self.checkpoint:
                own_frontend(self.kind, given)
        except ValueError as error:
            raise ValueError(f"frontend_arguments: {error}") from error
        if self.network is None:
            raise ValueError(f"frontend_arguments={given}: no network is named, so there is no front end; leave it out")

    def __reduce__(self) -> tuple[Any, ...]:
        made = type(self)
        base = next(kind for kind in made.__mro__ if kind.__dict__.get("kind") is None)
        return with_keys, (base, self.model_dump())


class OptionalModelSettings(ModelSettings):
    """The same where there need not be a network."""

    network: str | None = None  # None: a probe on stored embeddings; else trained from audio: see ModelSettings


def of_network(base: type[ModelSettings], network: str | None) -> type[ModelSettings]:
    """`base` with the keys of a network.

    Raises:
        UserError: There is no such network, it cannot be imported, or its constructor says too little.
    """
    if network is None:
        return base
    from models import networks  # takes seconds, which who asks for no network need not wait

    try:
        return _generated(base, networks.find(network, frozenset({network.partition(":")[0]})))
    except ValueError as error:
        raise UserError(f"model.network={network}: {error}") from error


@functools.cache
def _generated(base: type[ModelSettings], kind: type) -> type[ModelSettings]:
    fields = fields_of(kind, leave_out=kind.derived, taken=dir(base) + list(base.model_fields))
    made = create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)
    made.kind = kind
    return made


def with_keys(base: type[ModelSettings], given: Any) -> Any:
    """Validate plain values by the keys of the network that they name."""
    if not isinstance(given, Mapping):
        return given
    network = given.get("network", base.model_fields["network"].default)
    known = network is None or isinstance(network, str)
    return (of_network(base, network) if known else base).model_validate(dict(given))


def default_model(base: type[ModelSettings]) -> Any:
    """The field of settings that have a network; its default is made when it is needed."""
    return Field(default_factory=functools.partial(with_keys, base, {}))


Model = Annotated[SerializeAsAny[ModelSettings], BeforeValidator(functools.partial(with_keys, ModelSettings))]
OptionalModel = Annotated[
    SerializeAsAny[OptionalModelSettings], BeforeValidator(functools.partial(with_keys, OptionalModelSettings))
]


class NetworkExperimentSettings(Section):
    """Settings of an experiment with a section `model`, whose keys follow `model.network`."""

    follows: ClassVar[str] = "model.network"
    implying: ClassVar[tuple[str, ...]] = ()  # keys that settings may follow from where no network is named

    @classmethod
    def following(cls, network: Any) -> type[Self]:
        """The same settings with the keys of a network spelt out, for reading and explaining them.

        Raises:
            UserError: See `of_network`.
        """
        base = cls.model_fields["model"].annotation
        if not (network is None or isinstance(network, str)):
            return cls
        made = of_network(base, network)
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, model=(made, Field(default_factory=made)))

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What follows where no network is named, nested: the network itself, and more.

        Args:
            given: What is chosen otherwise, nested; of single settings only those in `implying`.

        Raises:
            UserError: What is given does not say which network it is about.
        """
        return {}

    @classmethod
    def elsewhere(cls, key: str) -> str:
        """Which networks have a key of `model` that the chosen one has not; empty where none has."""
        section, _, name = key.partition(".")
        if section != "model":
            return ""
        from models import networks

        having = [one for one in networks.names() if name in fields_of(networks.find(one), networks.find(one).derived)]
        if not having:
            return ""
        kind = cls.model_fields["model"].annotation.kind
        chosen = f"the network is {kind.name}" if kind else "no network is named: model.network=NAME"
        return f"it belongs to {' and '.join(having)}, and {chosen}; leave it out"
