"""A run's jobs, started by submitit: on a SLURM cluster, or as processes of this machine."""

from dds.cluster.command import check_command, submit
from dds.cluster.request import Request, read_request

__all__ = ["Request", "check_command", "read_request", "submit"]
