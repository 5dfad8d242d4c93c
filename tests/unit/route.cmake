foreach(module route route_filter sessions)
  sluice_test(test_${module} USES route)
endforeach()
