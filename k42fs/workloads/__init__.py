"""Workloads: programs of file operations on a whole system in virtual time.

schedules.py   two clients, one operation each, and a swap at some point between
conformance.py whether an implementation of one's own answers as the others do
validation/    experiments with known outcomes that need the K42 objects, see `machine/validation`
"""
