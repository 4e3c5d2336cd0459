"""What a command of this checkout needs of the machine, told before anything is built.

Read by whatever Python a bare machine has, so: the standard library only, and nothing newer than Python 3.8.
"""
