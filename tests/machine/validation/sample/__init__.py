"""A package of experiments whose outcomes the tests of the harness know."""
