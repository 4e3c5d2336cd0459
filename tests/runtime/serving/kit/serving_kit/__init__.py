"""Real models and real server processes for the tests of server and router."""
