"""What all settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from experiments.tasks import find

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
TaskName = Annotated[str, AfterValidator(lambda name: find(name) and name)]


class Section(BaseModel):
    """A group of settings; unknown keys are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
