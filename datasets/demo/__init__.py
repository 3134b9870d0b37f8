"""A corpus of music with exact truth, composed and rendered from a seed: nothing to download.

`build` gives a folder laid out as a user's own corpus would be: `audio/*.flac`, a `.beats` file beside each,
`tracks.csv` and `corpus.json`. `render_folder` makes a corpus of a user's own MIDI files through the same renderer.
"""

from datasets.demo.errors import DemoError
from datasets.demo.make import SIZES, build
from datasets.demo.rendering.corpus import Rendering, render_folder

__all__ = ["SIZES", "DemoError", "Rendering", "build", "render_folder"]
