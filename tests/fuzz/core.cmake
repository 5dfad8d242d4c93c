sluice_fuzz(message USES core)
