import stages.lib.model  # noqa: F401  sets up threads, which must be before torch is loaded
from stages.lib.core import interrupts

interrupts.tell_in_one_line()
