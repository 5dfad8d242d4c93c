# format, lint, layers: what a contributor runs before a commit. `cmake --build BUILD --target lint`.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
find_program(CLANG_TIDY NAMES run-clang-tidy-14 run-clang-tidy)
find_program(SLUICE_PYTHON NAMES python3)

file(GLOB_RECURSE SLUICE_C_FILES CONFIGURE_DEPENDS
  gateway/*.[ch] protocols/*.[ch] workers/*.[ch] tests/*.[ch])

# A tool that is not installed makes its target say so and fail; it never stops the build.
function(sluice_tool name program)
  cmake_parse_arguments(TOOL "" "" "COMMAND" ${ARGN})
  if(program)
    add_custom_target(${name} COMMAND ${program} ${TOOL_COMMAND}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} USES_TERMINAL VERBATIM)
  else()
    add_custom_target(${name}
      COMMAND ${CMAKE_COMMAND} -E echo "${name}: install clang-format, clang-tidy, python3 and configure anew"
      COMMAND ${CMAKE_COMMAND} -E false VERBATIM)
  endif()
endfunction()

sluice_tool(format "${CLANG_FORMAT}" COMMAND -i --style=file ${SLUICE_C_FILES})
sluice_tool(lint "${CLANG_TIDY}" COMMAND -quiet -p ${CMAKE_BINARY_DIR}
  "${CMAKE_SOURCE_DIR}/(gateway|protocols|workers)/")
sluice_tool(layers "${SLUICE_PYTHON}" COMMAND -B tests/layers.py)
