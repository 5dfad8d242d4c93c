sluice_fuzz(wire USES wire)
