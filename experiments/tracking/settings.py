"""The settings of the record keeping: where runs go and how much of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from experiments.tracking.masking import mask


class TrackingSettings(BaseModel):
    """Where a run is recorded; nothing here changes what the run computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mongo_url: SecretStr | None = Field(None, description="database of the runs; better set by OSTINATO_MONGO_URL")
    mongo: Literal["auto", "required", "off"] = Field("auto", description="auto falls back on files alone")
    listen: Literal["socket", "tcp"] = Field("socket", description="how the embedded server is reached")
    keep_server: bool = Field(False, description="leave the embedded server running after the last run")
    drain_seconds: float = Field(10.0, ge=0, le=600, description="longest wait for the database at the end, s")
    max_points: int = Field(5000, ge=10, description="points kept per series in the database")
    upload_limit_mb: float = Field(64.0, ge=0, description="largest checkpoint copied into the database, MB")
    tags: tuple[str, ...] = Field((), description="labels of the run, besides its named configs")
    group: str | None = Field(None, description="name shared by the runs of one study")
    runs_dir: str = Field("runs", description="folder of the run directories")
    capture: Literal["python", "fd"] = Field("python", description="fd also records what C libraries print")

    @field_serializer("mongo_url")
    def _without_login(self, url: SecretStr | None) -> str | None:
        """The URL as it may be shown and stored."""
        return mask({"mongo_url": url.get_secret_value()})["mongo_url"] if url else None
