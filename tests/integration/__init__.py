"""Tests with real pipes, sockets, files and processes."""
