# SPDX-License-Identifier: MIT
#
# tally: reads what ctest --output-junit wrote and prints one line,
#
#     PASSED FAILED SKIPPED LIVE
#
# LIVE is how many tests named live.* passed or failed. Skipped is only what
# said so by its exit code: a test whose program is missing has failed. The
# reasons of the skipped go to stderr.

/<testcase /      { match($0, / name="[^"]*"/)
                    name = substr($0, RSTART + 7, RLENGTH - 8)
                    match($0, / status="[^"]*"/)
                    status = substr($0, RSTART + 9, RLENGTH - 10)
                    by_code = 0; said = "" }
/<skipped /       { by_code = /SKIP_RETURN_CODE/ }
/<system-out>/    { said = $0; sub(/.*<system-out>/, "", said)
                    sub(/<\/system-out>.*/, "", said) }
/<\/testcase>/    { if (status == "run")
                        passed++
                    else if (status == "notrun" && by_code) {
                        skipped++
                        print "skipped: " name ": " said >"/dev/stderr"
                    } else
                        failed++
                    if (name ~ /^live\./ && status != "notrun")
                        live++ }
END               { print passed + 0, failed + 0, skipped + 0, live + 0 }
