"""What makes two ids the same track, for matching, splits and repeats alike.

An id is a path. Letters with accents are equal however they are composed (Unicode NFC); only what is known to end the
name of a recording, or of its features, is a suffix: the text behind the dot of `St. Anger` is none.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

_AUDIO = """
3gp aac aax ac3 aif aifc aiff alac amr ape asf au avi bwf caf dff dsf dts eac3 flac gsm m4a m4b m4p m4r m4v mka mkv
mlp mov mp1 mp2 mp3 mp4 mpc mpeg mpg mpga oga ogg ogx oma opus ra rf64 rm shn snd spx tak thd tta voc vqf w64 wav wave
weba webm wma wmv wv
"""
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO.split())
FEATURE_SUFFIXES = (".mmap", ".npy")
SUFFIXES = AUDIO_SUFFIXES.union(FEATURE_SUFFIXES)


def composed(identity: str) -> str:
    """An id with its accents in one form; one in ASCII stays what it is."""
    return unicodedata.normalize("NFC", identity)


def without_suffix(identity: str) -> str:
    """A composed id without the suffix of its file, in whatever case that is written."""
    identity = composed(identity)
    stem, dot, suffix = identity.rpartition(".")
    named = dot and stem and not stem.endswith("/")
    return stem if named and f".{suffix.lower()}" in SUFFIXES else identity


def result_names(identities: Iterable[str]) -> dict[str, str]:
    """What files about tracks are called, by id: the id without suffix, with it where several would be called alike."""
    names = {identity: without_suffix(identity) for identity in identities}
    while True:
        counts = Counter(composed(name).casefold() for name in names.values())
        twice = [one for one, name in names.items() if counts[composed(name).casefold()] > 1 and name != one]
        if not twice:
            return names
        names |= {one: one for one in twice}
