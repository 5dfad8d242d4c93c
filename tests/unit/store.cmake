set(STORE_KIT ${CMAKE_CURRENT_SOURCE_DIR}/store_kit.c ${CMAKE_CURRENT_SOURCE_DIR}/store_story.c)
set(SHIMS ${CMAKE_CURRENT_SOURCE_DIR}/../shims)

# LD_PRELOAD libraries for tests that pull the plug (tests/shims/README.md): build/shims/NAME.so,
# never sanitized, because they are loaded before a sanitizer's runtime.
foreach(shim powercut faultfs)
  add_library(shim_${shim} MODULE ${SHIMS}/${shim}.c)
  set_target_properties(shim_${shim} PROPERTIES PREFIX "" OUTPUT_NAME ${shim}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/shims INTERPROCEDURAL_OPTIMIZATION OFF)
  target_compile_definitions(shim_${shim} PRIVATE _GNU_SOURCE)
  target_compile_options(shim_${shim} PRIVATE -Wall -Wextra -Wshadow -Wconversion)
  target_link_libraries(shim_${shim} PRIVATE ${CMAKE_DL_LIBS})
endforeach()

sluice_test(test_batch USES hub)
sluice_test(test_store_engines USES store SOURCES ${STORE_KIT})
sluice_test(test_store_subscribers USES store SOURCES ${STORE_KIT})
sluice_test(test_store_queues USES store SOURCES ${STORE_KIT})
sluice_test(test_store_committer USES store SOURCES ${STORE_KIT})

# The crash tests start this program again and again, under the shims.
add_executable(store_child ${SHIMS}/store_child.c ${STORE_KIT})
target_include_directories(store_child PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(store_child PRIVATE sluice_warnings sluice_store PkgConfig::CMOCKA)
sluice_test(test_store_crash USES store SOURCES ${STORE_KIT})
add_dependencies(test_store_crash store_child shim_powercut shim_faultfs)
target_compile_definitions(test_store_crash PRIVATE STORE_CHILD="$<TARGET_FILE:store_child>"
  POWERCUT_SHIM="$<TARGET_FILE:shim_powercut>" FAULTFS_SHIM="$<TARGET_FILE:shim_faultfs>")
set_tests_properties(unit.test_store_crash PROPERTIES LABELS crash TIMEOUT 300)

sluice_test(test_store_format USES store SOURCES ${STORE_KIT})
target_compile_definitions(test_store_format PRIVATE STORE_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
# faultfs is linked in: a program's own pwrite and fdatasync come before those of libc.
sluice_test(test_store_faults USES store SOURCES ${STORE_KIT} ${SHIMS}/faultfs.c)
target_link_libraries(test_store_faults PRIVATE ${CMAKE_DL_LIBS})
sluice_test(test_store_damage USES store SOURCES ${STORE_KIT})
sluice_test(test_store_inside USES store SOURCES ${STORE_KIT})
sluice_test(test_store_agree USES store SOURCES ${STORE_KIT} ${SHIMS}/faultfs.c)
target_link_libraries(test_store_agree PRIVATE ${CMAKE_DL_LIBS})

# Not a test: figures for this machine.
add_executable(bench_store EXCLUDE_FROM_ALL ${CMAKE_CURRENT_SOURCE_DIR}/bench_store.c)
target_link_libraries(bench_store PRIVATE sluice_warnings sluice_store)
