"""Image weights that timm knows: taken from its caches where they are, or downloaded by it where nothing else works.

timm keeps files of two kinds: the original, in torch's cache, and its own copy in safetensors, in Hugging Face's cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.releases import Release

_COPY = "model.safetensors"


def cached(release: Release) -> Path | None:
    """The file of a release in the caches that timm fills; None where there is none.

    The original is only taken if its SHA-256 is the published one; of the copy no sum is published.
    """
    if release.timm is None:
        return None
    import torch
    from huggingface_hub import try_to_load_from_cache

    original = Path(torch.hub.get_dir()) / "checkpoints" / release.file
    if original.is_file() and _is_published(original, release):
        return original
    copy = try_to_load_from_cache(f"timm/{release.timm}", _COPY)
    return Path(copy) if isinstance(copy, str) else None


def download(release: Release) -> Path | None:
    """Have timm download the weights into its own cache, and find them there; None where it cannot either."""
    if release.timm is None:
        return None
    import timm

    try:
        timm.create_model(release.timm, pretrained=True)
    except Exception:  # whatever its transport raises: the caller says what is missing
        return None
    return cached(release)


def remedy(release: Release) -> str:
    """What to do, on any machine with a network, so that `cached` finds the weights; nothing for other releases."""
    if release.timm is None:
        return ""
    return f"or have timm keep them: python -c \"import timm; timm.create_model('{release.timm}', pretrained=True)\""


def _is_published(path: Path, release: Release) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(release.sha256)
