"""Requests that are wrong in every layer, from bytes on the wire to elements of tensors, against a real server."""
