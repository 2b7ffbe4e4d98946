# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
#
# Install the Python tree below DESTINATION: what a robot runs, and with WITH_TOOLS the rest.

option(WITH_TOOLS "Install training, measurements and the whole command line too" OFF)

function(install_python_tree SOURCE DESTINATION)
  file(GLOB entries CONFIGURE_DEPENDS LIST_DIRECTORIES true RELATIVE "${SOURCE}" "${SOURCE}/*")
  list(REMOVE_ITEM entries __pycache__)
  set(left_out PATTERN "__pycache__" EXCLUDE PATTERN "*.pyc" EXCLUDE)
  if(NOT WITH_TOOLS)
    # The clients that measure, and the scripts that demonstrate.
    foreach(name episode_client experts graph_listener image_probe loop_probe)
      list(APPEND left_out PATTERN "${name}.py" EXCLUDE)
    endforeach()
    list(REMOVE_ITEM entries bench cli training)
    # What is left of the command line on a robot: up and doctor.
    foreach(name __init__ __main__ doctor options up)
      install(FILES "${SOURCE}/cli/${name}.py" DESTINATION "${DESTINATION}/cli")
    endforeach()
  endif()
  foreach(entry IN LISTS entries)
    if(IS_DIRECTORY "${SOURCE}/${entry}")
      install(
        DIRECTORY "${SOURCE}/${entry}/"
        DESTINATION "${DESTINATION}/${entry}"
        ${left_out}
      )
    else()
      install(FILES "${SOURCE}/${entry}" DESTINATION "${DESTINATION}")
    endif()
  endforeach()
endfunction()
