"""The client verbs of the command line, one module for each or for each kind."""
