# Runs a server until standard input closes, then stops it.
#
# supervise.sh LOG SCRATCH PROGRAM [ARGUMENT...]
#
# The process that started this holds the other end of standard input. The kernel closes it when
# that process ends, however it ends, so the server never outlives it. SCRATCH is a directory to
# remove at the end, or empty. Only what POSIX sh and its built-ins offer is used, beside sleep.

log=$1 scratch=$2
shift 2

# Only the pipe decides: signals that reach the whole process group or control group do not.
trap '' HUP INT QUIT TERM
exec 3<&0 </dev/null >/dev/null 2>&1

"$@" >"$log" 2>&1 3<&- &
server=$!

{
    while read -r _ <&3; do :; done
    # Asked again each second, as a server that is still starting may not listen to signals yet.
    tries=0
    while kill -0 "$server"; do
        if [ "$tries" -lt 20 ]; then kill -INT "$server"
        elif [ "$tries" -lt 25 ]; then kill -QUIT "$server"
        else kill -KILL "$server"
        fi
        tries=$((tries + 1))
        sleep 1
    done
} &
watcher=$!

wait "$server"
code=$?
kill -KILL "$watcher"
if [ -n "$scratch" ]; then rm -rf -- "$scratch"; fi
exit "$code"
