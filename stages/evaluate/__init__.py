from stages.lib.core import interrupts

interrupts.tell_in_one_line()
