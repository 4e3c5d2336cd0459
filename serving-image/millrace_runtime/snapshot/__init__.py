"""Freezes a Dataset's source into an immutable, content-addressed version.

    fetch -> read, leave out, check, account -> key order -> divide, write -> send
             (csvfile, parquetfile,   (shuffle)              (divide, version)
              types, columns, schema,
              erasing; holding)

Rows pass in blocks of a few megabytes and are brought into key order on disk: memory does not grow with the source
(`operator/decisions/0027-rows-pass-in-blocks.md`).
"""
