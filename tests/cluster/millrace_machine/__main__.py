"""`PYTHONPATH=tests/cluster python3 -m millrace_machine demo`: may `make demo` start?"""

import sys

from millrace_machine.preflight import main

sys.exit(main(sys.argv[1:]))
