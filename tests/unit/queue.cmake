foreach(module queue_order queue_intake queue_answers queue_consumers queue_time queue_late queue_restraint queue_keys queue_model)
  sluice_test(test_${module} USES queue)
endforeach()
