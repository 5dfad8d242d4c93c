# STOMP's consumers and transactions under random traffic, beside a reference model.
set(STOMP_MODEL stomp_model.c stomp_model_conn.c stomp_model_queue.c stomp_model_park.c stomp_model_kept.c
  stomp_model_wire.c stomp_model_world.c stomp_model_mqtt.c stomp_model_peer.c stomp_model_consumer.c
  stomp_model_faults.c model_store.c)
list(TRANSFORM STOMP_MODEL PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
sluice_test(test_stomp_model USES hub mqtt stomp SOURCES ${STOMP_MODEL})
