"""`python -m cluster.cli`: the command line where the package is not installed, as in a Ray job."""

from cluster.cli.app import main

main()
