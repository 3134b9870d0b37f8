"""Full scale of audio in int16, for those who do without torch too."""

FULL_SCALE = 32768
