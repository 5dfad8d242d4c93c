sluice_fuzz(store_record USES store)
