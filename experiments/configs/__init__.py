"""The named configs, as data: one file a system, all gathered by `experiments.configs.catalogue`."""
