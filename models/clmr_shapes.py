"""Shapes of the encoders of CLMR and TUNe, for their named configs too, which do without torch."""

from __future__ import annotations

from collections.abc import Mapping

SAMPLE_RATE = 22_050  # Hz
WINDOW = 3**10  # samples

# Sample rate -> strides of the second to the tenth layer of CLMR's SampleCNN, for windows of about 2.7 s.
STRIDES: Mapping[int, tuple[int, ...]] = {
    SAMPLE_RATE: (3,) * 9,
    16_000: (3, 3, 3, 3, 3, 3, 5, 2, 2),
    8_000: (3, 3, 3, 2, 2, 4, 4, 2, 2),
}
XL = (128, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)  # channels
