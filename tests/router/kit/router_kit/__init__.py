"""What the router meets in a cluster, on loopback: names that stand for several servers, and pods that come and go."""
