"""Tests of the name server: paths, mount table, manager, clients, name space."""
