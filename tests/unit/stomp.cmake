foreach(module stomp_session stomp_malformed stomp_answers stomp_time stomp_frame stomp_limits stomp_consume
               stomp_refused stomp_message stomp_deliver stomp_clauses)
  sluice_test(test_${module} USES stomp SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/test_stomp_harness.c)
endforeach()
