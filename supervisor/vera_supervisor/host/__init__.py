"""What this worker may use of the machine, and how much of that is in use.

The machine's own figures are wrong in a container, and under systemd once a slice has a limit. What
counts is the least that any control group above this process, its CPU affinity and the
configuration allow, under cgroup v1, v2, or both at once.
"""

from vera_supervisor.host.host import SAMPLE_INTERVAL_S, Host
from vera_supervisor.host.usage import Usage

__all__ = ["SAMPLE_INTERVAL_S", "Host", "Usage"]
