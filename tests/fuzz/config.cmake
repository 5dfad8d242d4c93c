sluice_fuzz(config USES config core)
