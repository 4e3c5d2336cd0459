"""Freezes a Dataset's source into an immutable, content-addressed version.

    read -> check schema -> check rules -> keep old rows' split, draw for new rows -> write

The whole table is in memory once; `operator/decisions/0020-snapshots.md` states how much that is.
"""
