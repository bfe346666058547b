/* SPDX-License-Identifier: MIT */
/*
 * setjmp.h: wasi-libc has none, and Lua includes it. It jumps by other means.
 */
