get_filename_component(CONFIG_SOURCE ${CMAKE_CURRENT_LIST_DIR}/../../config ABSOLUTE)
sluice_test(test_config USES config core)
sluice_test(test_config_faults USES config core)
target_compile_definitions(test_config PRIVATE CONFIG_SOURCE="${CONFIG_SOURCE}")
