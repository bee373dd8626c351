# Signals to the launcher. From the first one caught on, no word of its main process mixes "…" or $((…)) with $(…):
# bash 5.2 may fail on a signal there.

child=0 signals=0 passed=0 timer=0 first_signal=0
on_signal() {
  # A timer that is ended just after its start still has the traps of this script.
  ((BASHPID == $$)) || exit 0
  # When the time of a job is over, Slurm sends a step its SIGTERM twice within milliseconds.
  ((!in_slurm || signals != 1 || SECONDS - first_signal > 1)) || return 0
  ((signals)) || first_signal=$SECONDS
  signals=$((signals + 1))
  ((child == 0)) || pass_signals
}

# Waits for the child $1, returns its exit code. A signal ends a `wait`, not what it is for.
wait_for() {
  local code=0
  # Quiet: bash would tell of a child that was killed.
  while kill -0 "$1" 2>/dev/null; do wait "$1" 2>/dev/null || true; done
  wait "$1" 2>/dev/null || code=$?
  return "$code"
}

# Ends what has not begun, unless it is one request for a checkpoint: then the run begins, and writes one.
end_if_signalled() {
  ((signals > 1)) || { ((signals)) && [[ $command != train || ${1-} == now ]]; } || return 0
  fail 16 'ended by a signal, nothing has been started.'
}

# Ends what an mpirun, process $1, has left behind: an ssh to a host that is gone holds its stderr open.
end_leftovers() {
  local process
  # All of them are in the session that it was started in.
  for process in $(cat /proc/[0-9]*/stat 2>/dev/null |
    awk -v session="$1" '{process = $1; sub(/.*\) /, "")} $4 == session {print process}'); do
    kill -TERM "$process" 2>/dev/null || true
  done
}

# Passes on each signal once. First: a checkpoint, please. Second: end. Third: at once.
pass_signals() {
  local number
  # In one command, which the next signal cannot interrupt.
  while ((passed < signals && (number = ++passed))); do
    case $number in
      1)
        if [[ $command != train ]]; then
          kill -"$end_signal" "$child" 2>/dev/null || true
          continue
        fi
        say "Stopping after a checkpoint (within $grace s; once more ends at once)."
        end_after_grace 2>/dev/null &
        timer=$!
        ;;
      2) kill -"$end_signal" "$child" 2>/dev/null || true ;;
      *) kill -KILL "$child" 2>/dev/null || true ;;
    esac
  done
}

# Asks for a checkpoint, and ends mpirun when the time for one is over. A rank that does not exist yet would
# not hear of it, and one that has just been made would die of it: so not before the run tells of itself.
end_after_grace() {
  local tick asked=0
  for ((tick = 0; ; tick++)); do
    # Often enough to see when it is not needed.
    kill -0 "$child" && kill -0 $$ || return 0
    if ((!asked)) && has_begun; then
      kill -USR1 "$child" || return 0
      asked=1
    fi
    ((tick < 5 * grace)) || break
    sleep 0.2 || true
  done
  kill -"$end_signal" "$child"
  sleep 3 || true
  kill -KILL "$child"
}
