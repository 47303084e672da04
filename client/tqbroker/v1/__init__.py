"""The wire, generated from proto/tqbroker/v1 by `make proto`. Imported by its modules: `from tqbroker.v1 import job_pb2`."""
