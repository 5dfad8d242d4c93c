foreach(module schedule_cron schedule_next schedule_plan)
  sluice_test(test_${module} USES schedule core)
endforeach()
