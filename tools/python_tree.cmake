# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
#
# Install the Python tree below DESTINATION: what a robot runs, and by options the rest.

option(WITH_SIM "Install simulated robots too" OFF)
option(WITH_TOOLS "Install training, measurements and the whole command line too, and WITH_SIM" OFF)

function(install_python_tree SOURCE DESTINATION)
  file(GLOB entries CONFIGURE_DEPENDS LIST_DIRECTORIES true RELATIVE "${SOURCE}" "${SOURCE}/*")
  list(REMOVE_ITEM entries __pycache__)
  set(left_out PATTERN "__pycache__" EXCLUDE PATTERN "*.pyc" EXCLUDE)
  if(NOT WITH_TOOLS)
    # The clients that measure, and the scripts that demonstrate.
    foreach(name
        episode_client experts graph_listener graph_recorder image_probe loop_probe probe)
      list(APPEND left_out PATTERN "${name}.py" EXCLUDE)
    endforeach()
    list(REMOVE_ITEM entries bench cli records.py training unfinished.py workers.py)
    # What is left of the command line on a robot: up, inspect, new-robot, and doctor of bringup.
    foreach(name __init__ __main__ inspect new_robot options up)
      install(FILES "${SOURCE}/cli/${name}.py" DESTINATION "${DESTINATION}/cli")
    endforeach()
  endif()
  if(NOT (WITH_SIM OR WITH_TOOLS))
    # What is known of them stays, so that whoever names one is told how to get it.
    list(APPEND left_out PATTERN "nodes/robot" EXCLUDE)
    list(APPEND left_out PATTERN "sim/arms" EXCLUDE PATTERN "sim/drivers" EXCLUDE)
    list(APPEND left_out PATTERN "sim/metaworld" EXCLUDE)
    foreach(name camera episodes interface lockstep physics rendering settings)
      list(APPEND left_out PATTERN "sim/${name}.py" EXCLUDE)
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
