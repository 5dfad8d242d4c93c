sluice_fuzz(stomp_session USES stomp)
