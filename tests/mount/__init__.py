"""End-to-end tests: a directory, taken from outside, must behave like ext4 for ordinary programs.

`K42FS_TEST_TARGET` unset: each run mounts k42fs. Set to a path: the same tests run in that directory, which
is how the tests themselves are proved right (on tmpfs, on ext4).

    support.py, processes.py, syscalls.py   small tools: expected errors, forked children, raw system calls
    mounting.py, warden.py                  k42fs mounts, and the process that ends them whatever happens
    trees.py                                a tree with one of everything, for programs that copy
    probes.py                               what a target offers, asked of the target and never of its name
    conftest.py                             `target`, `small_target`, `new_mount`: directories to test in
    test_posix_*.py                         one area of POSIX and Linux behaviour each
    exerciser.py, test_fsx.py               random file operations against a byte array
    test_tree_model.py                      random tree operations against a dictionary
    test_program_*.py                       git, sqlite, rsync, tar, make, fio, venv
    test_models.py                          a smoke subset at each fidelity of the machine
    test_lifecycle_*.py                     mounting, unmounting, dying; control files
"""
