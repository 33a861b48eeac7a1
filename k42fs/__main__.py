"""`python -m k42fs` is the command `k42fs`."""

from k42fs.cli.main import main

if __name__ == "__main__":
    main()
