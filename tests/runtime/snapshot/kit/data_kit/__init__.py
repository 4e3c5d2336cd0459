"""What the tests of snapshots and training share: a real object store, tasks, and real data."""
