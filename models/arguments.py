"""Ranges of constructor arguments: plain numbers to Python, checked where a setting is made of them."""

from typing import Annotated

from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]  # of dropout and the like
