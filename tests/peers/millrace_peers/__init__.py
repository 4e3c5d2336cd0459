"""Other servers of the inference protocol, each in an environment of its own, beside ours on loopback."""
