"""Tests of the file library, the file systems and the name server."""
