# The codec, the C SDK against a gateway of the test's own, the Python SDK: all against one file of frames.
sluice_test(test_wire USES wire)
sluice_test(test_worker_sdk USES wire worker_sdk)
foreach(test IN ITEMS test_wire test_worker_sdk)
  target_compile_definitions(${test} PRIVATE FRAMES_FILE="${PROJECT_SOURCE_DIR}/tests/workers/frames.txt")
endforeach()
add_test(NAME unit.test_sluice_worker_py COMMAND /usr/bin/python3 ${PROJECT_SOURCE_DIR}/tests/workers/test_sluice_worker.py)
set_tests_properties(unit.test_sluice_worker_py PROPERTIES LABELS unit TIMEOUT 60 ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
