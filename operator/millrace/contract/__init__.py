"""What crosses the boundary of a pod: environment, reports, profiles, golden sets, series. Standard library only.

The images import this package and nothing else of the operator, so a name here is a promise to pods that already run.
"""
