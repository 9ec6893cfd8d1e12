"""The command line: thin commands over the AWS API, the platform's own API, and `wiring` for `up`.

Called by the launcher (`./lambent`) and by tests. One file for each command or small family; `main.py` lists them all and
imports a command's file only when it runs, because start-up is what a person waits for. The environment is read once, in
`main.py`, and passed on. Talks to a running platform over its ports only, never by importing what runs in it.
"""
