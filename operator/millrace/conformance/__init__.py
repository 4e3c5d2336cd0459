"""Does a server speak the Open Inference Protocol v2 over REST? Cases that can be pointed at any of them.

Standard library only, and nothing of the rest of Millrace: what is tested here is never asked of our own codec.
The protocol is kserve/open-inference-protocol at d49cc23, which has no suite of its own; extensions are Triton's.
"""
