"""What runs inside Millrace's own pods: the snapshot, the training stages and the model server.

Imports `millrace.contract` and nothing else of the operator.
"""
