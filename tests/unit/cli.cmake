# The command lines of pub and sub, and how a message is shown.
sluice_test(test_cli_args USES cli stomp)
target_include_directories(test_cli_args PRIVATE ${PROJECT_SOURCE_DIR}/gateway/cli)
target_include_directories(test_cli_args SYSTEM PRIVATE ${PAHO_INCLUDE})
