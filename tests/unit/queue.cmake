foreach(module queue_order queue_order_by queue_order_by_restart queue_lines queue_intake queue_answers
    queue_consumers queue_time queue_late queue_restraint queue_keys queue_dead queue_operate queue_peek queue_dedup)
  sluice_test(test_${module} USES queue)
endforeach()
set(QUEUE_WALK queue_model.c queue_model_intake.c queue_model_work.c queue_model_time.c queue_model_operators.c)
list(TRANSFORM QUEUE_WALK PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
sluice_test(test_queue_model USES queue SOURCES ${QUEUE_WALK})
