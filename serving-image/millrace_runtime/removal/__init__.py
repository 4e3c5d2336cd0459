"""Erases folders of the store that nothing in the cluster refers to any more: of versions, and of runs.

__main__    task in, EraseReport out
erase       what may be erased, and in which order
"""
