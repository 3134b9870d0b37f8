"""Settings are made of a constructor, or it is said what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, create_model

from models.arguments import explanations, fields_of


class Thing:
    """Something to be built.

    Args:
        width: Values of a layer,
            on two lines.
        kind (str): Which one.
        **rest: Ignored.

    Raises:
        ValueError: Never.
    """

    def __init__(
        self,
        n_classes: int,
        width: Annotated[int, Field(gt=0)] = 8,
        kind: Literal["a", "b"] = "a",
        rate: float | None = None,
        sizes: Sequence[int] = (1, 2),
        pair: tuple[int, float] = (1, 0.5),
        names: Mapping[str, list[bool]] = {},
    ) -> None: ...


def test_names_types_defaults_and_explanations():
    fields = fields_of(Thing, leave_out=["n_classes"])
    assert list(fields) == ["width", "kind", "rate", "sizes", "pair", "names"]
    made = create_model("Made", **fields)
    plain = {"width": 8, "kind": "a", "rate": None, "sizes": [1, 2], "pair": [1, 0.5], "names": {}}
    assert made().model_dump(mode="json") == plain
    assert made().sizes is not made().sizes
    assert made.model_fields["width"].description == "Values of a layer, on two lines"
    assert explanations(Thing) == {
        "width": "Values of a layer, on two lines",
        "kind": "Which one",
        "rest": "Ignored",
    }


@pytest.mark.parametrize("wrong", [{"width": 0}, {"kind": "c"}, {"sizes": ["x"]}, {"pair": [1]}, {"names": {"a": 1}}])
def test_values_are_checked_by_the_annotations(wrong):
    with pytest.raises(ValidationError):
        create_model("Made", **fields_of(Thing, leave_out=["n_classes"]))(**wrong)


def refused(constructor: Callable[..., None], **more: Any) -> str:
    """What is said of a class with such a constructor."""
    with pytest.raises(ValueError, match=r"pack\.mod:Own: ") as caught:
        fields_of(type("Own", (), {"__init__": constructor, "__module__": "pack.mod"}), **more)
    return str(caught.value)


def test_what_a_constructor_lacks_is_said_with_class_and_argument():
    def bare(self, width=3) -> None: ...
    def callback(self, hook: Callable[[], None] = print) -> None: ...
    def whatever(self, width: Any = 3) -> None: ...
    def without(self, width: int) -> None: ...
    def rest(self, **kwargs: int) -> None: ...
    def unknown(self, width: Nowhere = 3) -> None: ...  # noqa: F821
    def taken(self, pretrained: bool = True) -> None: ...

    start = "pack.mod:Own: its argument "
    assert refused(bare) == f"{start}width has no annotation: write its type, such as width: int = 1"
    assert refused(callback).startswith(f"{start}hook is of the type collections.abc.Callable[[], None], which no")
    assert refused(whatever).startswith(f"{start}width is of the type Any")
    assert refused(without) == f"{start}width has no default: give it one, or list it in `derived` if the data give it"
    assert refused(rest).startswith(f"{start}kwargs is not given by name")
    assert "name 'Nowhere' is not defined" in refused(unknown)
    assert refused(taken, taken=["pretrained"]).startswith(f"{start}pretrained has a name that settings use already")
