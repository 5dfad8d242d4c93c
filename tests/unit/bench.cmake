# The bench's pure parts, its ledger, and its drivers against bytes.
sluice_test(test_bench_histogram USES bench)
sluice_test(test_bench_ledger USES bench)
sluice_test(test_bench_drivers USES bench)
sluice_test(test_bench_args USES bench)
target_include_directories(test_bench_args PRIVATE ${PROJECT_SOURCE_DIR}/gateway/bench)
add_subdirectory(${PROJECT_SOURCE_DIR}/tests/bench ${PROJECT_BINARY_DIR}/tests/bench)
