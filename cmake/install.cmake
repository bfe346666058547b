# SPDX-License-Identifier: MIT
#
# What an installation holds: libraries, headers, the ufault command and its
# preload library, man pages, and what find_package and pkg-config read.

include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ufault)

install(TARGETS ufault ufault_static wrap
    EXPORT ufault
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ufault
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN *.h)
install(FILES ${PROJECT_SOURCE_DIR}/src/posix/posix.syms
    DESTINATION ${CMAKE_INSTALL_DATADIR}/ufault)
install(EXPORT ufault
    NAMESPACE ufault::
    FILE ufault-targets.cmake
    DESTINATION ${package_dir})

configure_package_config_file(cmake/ufault-config.cmake.in
    ${PROJECT_BINARY_DIR}/ufault-config.cmake
    INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/ufault-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/ufault-config.cmake
    ${PROJECT_BINARY_DIR}/ufault-config-version.cmake
    DESTINATION ${package_dir})

# The .pc file finds its prefix from where it lies, so the tree can be moved.
file(RELATIVE_PATH prefix_from_pc
    /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
set(uring_link "")
if(UFAULT_URING)
    set(uring_link -luring)
endif()
set(image_link "")
if(UFAULT_IMAGES)
    set(image_link "-lzstd -llz4 -lxxhash")
endif()
configure_file(cmake/ufault.pc.in ${PROJECT_BINARY_DIR}/ufault.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ufault.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET ufault_command)
    install(TARGETS ufault_command DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET ufault_run)
    install(TARGETS ufault_run DESTINATION ${CMAKE_INSTALL_LIBDIR}/ufault)
endif()

foreach(section 1 3 5 7)
    file(GLOB pages CONFIGURE_DEPENDS docs/man/*.${section})
    if(pages)
        install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
    endif()
endforeach()
