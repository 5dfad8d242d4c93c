foreach(module route route_filter sessions subscriptions subscriptions_cost
    subscriptions_model shared_groups retained outbox unacked)
  sluice_test(test_${module} USES route)
endforeach()

# Not a test: figures for this machine.
add_executable(bench_route EXCLUDE_FROM_ALL ${CMAKE_CURRENT_SOURCE_DIR}/bench_route.c)
target_link_libraries(bench_route PRIVATE sluice_warnings sluice_route)
