"""Attacks on who may approve, apply, delete and read, each of which must be refused."""
