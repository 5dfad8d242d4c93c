# The hub through its public header, with real protocol sessions and a store that finishes when it is told to.
foreach(module hub_commit hub_qos2 hub_overload hub_stomp hub_meaning hub_sessions)
  sluice_test(test_${module} USES hub mqtt stomp SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_hub_kit.c)
endforeach()
