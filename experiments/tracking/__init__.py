"""Every command is a run: its journal on disk, its record in MongoDB, its page in Omniboard."""

import warnings

# Sacred 0.8.7 imports it, which is why setuptools stays below 81.
warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
