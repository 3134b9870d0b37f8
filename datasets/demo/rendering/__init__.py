"""MIDI files -> a corpus of audio with beats, downbeats, tempo, metre and key, in as many variants as training asks for.

`corpus` renders a folder; `reading` gets the truth out of MIDI and the files beside it; `recipes` draws what a variant is.
"""
