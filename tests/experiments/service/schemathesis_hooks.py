"""What Schemathesis uploads: short recordings, the same damaged, and bytes of anything."""

import io

import numpy as np
import schemathesis
import soundfile
from hypothesis import strategies as st


def _recording(seconds: float, kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000)), 16_000, format=kind)
    return file.getvalue()


RECORDINGS = [_recording(0.01, "wav"), _recording(1.0, "flac"), _recording(2.5, "wav"), _recording(4.0, "ogg")]
DAMAGED = st.sampled_from(RECORDINGS).map(lambda one: one[: len(one) // 2])
schemathesis.openapi.media_type(
    "audio/wav", st.one_of(st.sampled_from(RECORDINGS), DAMAGED, st.binary()), aliases=["application/octet-stream"]
)
