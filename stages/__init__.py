"""One module a stage of dvc.yaml."""

import os

# Threads that wait without spinning: with anything else at work on the cores, torch on a CPU is ten times as fast. It decides no
# result, and must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
