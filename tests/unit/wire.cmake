# The codec, the C SDK against a gateway of the test's own, the Python SDK: all against one file of frames.
sluice_test(test_wire USES wire)
set(SDK_TESTS test_worker_sdk test_worker_stream test_worker_batch test_worker_external test_worker_conformance)
foreach(test IN LISTS SDK_TESTS)
  sluice_test(${test} USES wire worker_sdk)
endforeach()
foreach(test IN LISTS SDK_TESTS ITEMS test_wire)
  target_compile_definitions(${test} PRIVATE FRAMES_FILE="${PROJECT_SOURCE_DIR}/tests/workers/frames.txt"
    FAULTS_FILE="${PROJECT_SOURCE_DIR}/tests/workers/faults.txt")
endforeach()
foreach(test IN ITEMS test_conformance test_sluice_worker test_sluice_worker_aio)
  add_test(NAME unit.${test}_py COMMAND /usr/bin/python3 -B ${PROJECT_SOURCE_DIR}/tests/workers/${test}.py)
  set_tests_properties(unit.${test}_py PROPERTIES LABELS unit TIMEOUT 60)
endforeach()
# The Node.js SDK, where Node.js is installed.
find_program(NODE_PROGRAM node)
if(NODE_PROGRAM)
  foreach(test IN ITEMS test_sluice_worker test_sluice_worker_frames)
    add_test(NAME unit.${test}_node COMMAND ${NODE_PROGRAM} --test ${PROJECT_SOURCE_DIR}/tests/workers/${test}.mjs)
    set_tests_properties(unit.${test}_node PROPERTIES LABELS unit TIMEOUT 60)
  endforeach()
endif()

# Sanitized objects need the sanitizer's runtime in what links them.
if(SLUICE_SANITIZE)
  set(INSTALL_FLAGS -fsanitize=${SLUICE_SANITIZE})
endif()
add_test(NAME unit.test_worker_install COMMAND /usr/bin/python3 ${PROJECT_SOURCE_DIR}/tests/workers/test_install.py
  ${CMAKE_BINARY_DIR} ${PROJECT_SOURCE_DIR} "${INSTALL_FLAGS}")
set_tests_properties(unit.test_worker_install PROPERTIES LABELS unit TIMEOUT 120)
