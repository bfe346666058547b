# SPDX-License-Identifier: MIT
#
# From a guest's C to an object for this machine, with Debian's packages alone:
#
#     guests/NAME.c ─ clang, wasi-libc ─► NAME.wasm ─ wasm2c ─► NAME.c, NAME.h
#                                                                  └ cc ─► here
#
# wasm_missing is what is not there; while it is not empty there are no guests.

set(wasm_missing "")

# wasm_find(KIND VARIABLE PACKAGE ...): find_KIND(VARIABLE ...)
macro(wasm_find kind variable package)
    cmake_language(CALL find_${kind} ${variable} ${ARGN})
    mark_as_advanced(${variable})
    if(NOT ${variable})
        list(APPEND wasm_missing ${package})
    endif()
endmacro()

wasm_find(program WASM_CLANG clang-14 NAMES clang-14 clang)
wasm_find(program WASM_LD lld-14 NAMES wasm-ld-14 wasm-ld)
wasm_find(program WASM_WASM2C wabt NAMES wasm2c)
wasm_find(path WASM_RT_DIR wabt NAMES wasm-rt.h)
wasm_find(file WASM_LIBC wasi-libc NAMES libc.a
    PATHS /usr/lib/wasm32-wasi NO_DEFAULT_PATH)
file(GLOB wasm_builtins
    /usr/lib/llvm-14/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a)
if(NOT wasm_builtins)
    list(APPEND wasm_missing libclang-rt-14-dev-wasm32)
endif()

# wasm_program(NAME SOURCE... [FLAGS flag...]): makes ${wasm_build}/NAME.c, and
# NAME.h, of sources of the calling folder.
set(wasm_folder ${CMAKE_CURRENT_LIST_DIR})
set(wasm_build ${PROJECT_BINARY_DIR}/demo/wasm)
file(MAKE_DIRECTORY ${wasm_build})
function(wasm_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "FLAGS")
    set(made ${wasm_build}/${name})
    add_custom_command(
        OUTPUT ${made}.wasm
        COMMAND ${WASM_CLANG} --target=wasm32-wasi --sysroot=/usr -O2
            -mexec-model=reactor -Wall -Wextra -Wno-infinite-recursion
            -I${wasm_folder}/guests ${arg_FLAGS}
            -Wl,-z,stack-size=65536 -Wl,--stack-first
            -o ${made}.wasm ${arg_UNPARSED_ARGUMENTS}
        WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
        DEPENDS ${arg_UNPARSED_ARGUMENTS} ${wasm_folder}/guests/guest.h
            ${wasm_folder}/guests/lua_jumps.h
        COMMENT "Compiling the guest ${name} for wasm"
        VERBATIM)
    add_custom_command(
        OUTPUT ${made}.c ${made}.h
        COMMAND ${WASM_WASM2C} ${made}.wasm -o ${made}.c
        DEPENDS ${made}.wasm
        COMMENT "Translating the guest ${name}"
        VERBATIM)
    # No warnings of what is not ours, and no sanitizers: what it does outside of
    # its memory is the point. A large frame does not step over a guard.
    set_source_files_properties(${made}.c PROPERTIES COMPILE_OPTIONS
        "-w;-O1;-g0;-fstack-clash-protection;-fno-sanitize=all")
endfunction()
