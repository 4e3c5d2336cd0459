"""`python tests/cluster`: the local cluster tool."""

from millrace_cluster.command import main

main()
