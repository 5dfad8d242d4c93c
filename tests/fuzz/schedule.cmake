sluice_fuzz(schedule USES schedule core)
