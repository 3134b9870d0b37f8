"""From settings to networks: the device, a new network and its initial weights, a trained one."""
