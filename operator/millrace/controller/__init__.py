"""The kernel: which object is looked at when, by whom, and by which replica."""
