"""Freezes a Dataset's source into an immutable, content-addressed version.

    fetch -> read, check, account -> key order -> divide, write -> send
             (csvfile, parquetfile,   (shuffle)   (divide, version)
              types, columns, schema)

Rows pass in blocks of a few megabytes and are brought into key order on disk: memory does not grow with the source
(`operator/decisions/0025-rows-pass-in-blocks.md`).
"""
