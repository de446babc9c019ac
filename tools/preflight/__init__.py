import stages.lib.model  # noqa: F401  sets up threads, which must be before torch is loaded
