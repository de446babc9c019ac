"""The model in memory: weights, adapter, packs, hardware."""

import logging
import os

# How long torch's threads on a CPU wait for each other by spinning. libgomp's own choice gains a few percent on a quiet machine
# and loses nine tenths of the speed where anything else is at work. It decides no result, and must be set before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Where bitsandbytes is installed, peft imports it, and on a CPU with bfloat16 it warns that it lacks a kernel for 4 bits.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
