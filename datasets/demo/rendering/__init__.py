"""MIDI files -> a corpus of audio with beats, downbeats, tempo, metre and key, in as many variants as training needs.

`corpus` renders a folder, `reading` gets the truth out of MIDI and the files beside it, `recipes` draws the variants.
"""
