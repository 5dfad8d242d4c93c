foreach(module alloc block bytes err hash heap log map message metrics rng slab timers times units utf8)
  sluice_test(test_${module} USES core)
endforeach()
