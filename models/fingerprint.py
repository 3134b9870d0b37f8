"""One short name for a set of parameters, equal wherever the parameters are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """Hash parameters into 16 hexadecimal digits that do not depend on the order of their keys.

    Args:
        parameters: JSON-able mapping; lists and tuples count as equal, `1` and `1.0` do not.

    Returns:
        First 16 hex digits of the SHA-256 of the canonical JSON text (sorted keys, no spaces).

    Raises:
        ValueError: A value has no JSON form (an array, a path, a NaN), so that no two machines would agree on it.
    """
    try:
        canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"parameters {parameters!r} have no JSON form ({error}): use strings, numbers, booleans, lists and dicts"
        ) from error
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
