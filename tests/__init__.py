"""The tests mirror the floors of k42fs; `mount/` takes a mounted directory from outside."""
