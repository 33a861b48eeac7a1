"""Tests of the objects floor: each invariant of clustered objects by name, and a model of the whole."""
