# sluice_room(NAME SOURCES … [USES room …] [LIBS target …])
#
# A room is a static library with its own include directory. USES names the
# rooms that it may include; nothing else is on its include path, so that a
# wrong include does not compile. tests/layers.py checks the same arrows in
# the text and that pure rooms name no shell library.
function(sluice_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBS" ${ARGN})
  add_library(sluice_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(sluice_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_link_libraries(sluice_${name} PRIVATE sluice_warnings)
  foreach(used IN LISTS ROOM_USES)
    target_link_libraries(sluice_${name} PUBLIC sluice_${used})
  endforeach()
  foreach(lib IN LISTS ROOM_LIBS)
    target_link_libraries(sluice_${name} PUBLIC ${lib})
  endforeach()
endfunction()
