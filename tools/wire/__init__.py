"""Keeps the wire honest: generates the stubs, lints the protos, finds breaks. `make proto` and the tests use it.

protoc      the one place that calls the generator
lint        naming and comments, the rules `buf lint` checks
breaking    what may not change between two versions of the wire, as `buf breaking` sees it
"""
