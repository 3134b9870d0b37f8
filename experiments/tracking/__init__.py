"""Every command is a run: its journal on disk, its record in MongoDB, its page in Omniboard."""
