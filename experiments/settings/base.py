"""What all settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from experiments.tasks import find
from models.arguments import Count, Positive

__all__ = ["Count", "Positive", "Section", "Share", "TaskName"]

Share = Annotated[float, Field(ge=0, le=1)]
TaskName = Annotated[str, AfterValidator(lambda name: find(name) and name)]


class Section(BaseModel):
    """A group of settings; unknown keys are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
