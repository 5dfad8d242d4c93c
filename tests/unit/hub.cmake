# The hub through its public header, with real protocol sessions and a store that finishes when it is told to.
foreach(module hub_subscribe hub_deliver hub_settle hub_shared hub_commit hub_qos2 hub_retransmit hub_overload
    hub_stomp hub_consume hub_consume_queue hub_acknowledge hub_transactions hub_atomic hub_results hub_jobs
    hub_meaning hub_sessions hub_takeover hub_wills hub_retained hub_sys hub_operate hub_cancel hub_peek hub_trace
    hub_dead hub_dead_list hub_dead_walk hub_redrive hub_order hub_odd_paths)
  sluice_test(test_${module} USES hub mqtt stomp SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_hub_kit.c)
endforeach()
# With a store that outlives the hub.
foreach(module hub_resume hub_dedup hub_dedup_walk hub_replace hub_schedules hub_schedules_changes
    hub_schedules_walk)
  sluice_test(test_${module} USES hub mqtt stomp store SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_hub_kit.c)
endforeach()
sluice_test(test_mqtt_model USES hub mqtt
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/mqtt_model.c ${CMAKE_CURRENT_LIST_DIR}/mqtt_model_packets.c
    ${CMAKE_CURRENT_LIST_DIR}/model_store.c ${CMAKE_CURRENT_LIST_DIR}/model_world.c)
