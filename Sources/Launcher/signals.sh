# Signals to the launcher, and the end of an mpirun that does not end by itself.

child=0 signals=0 timer=0 first_signal=0
on_signal() {
  # A timer that is ended just after its start still has the traps of this script.
  ((BASHPID == $$)) || exit 0
  # When the time of a job is over, Slurm sends a step its SIGTERM twice within milliseconds.
  ((!in_slurm || signals != 1 || SECONDS - first_signal > 1)) || return 0
  ((signals)) || first_signal=$SECONDS
  signals=$((signals + 1))
  ((child == 0)) || pass_signal
}

# The filter has noted an end. mpirun may wait for ever for a host that is gone.
on_end() {
  ((BASHPID == $$)) || exit 0
  [[ -s $notes/over ]] && ((child)) || return 0
  end_after_end 2>/dev/null &
}

end_after_end() {
  local tick seconds
  read -r seconds <"$notes/over"
  for ((tick = 0; tick < 5 * seconds; tick++)); do
    [[ -e $notes/over ]] && kill -0 "$child" && kill -0 $$ || return 0
    sleep 0.2
  done
  # An mpirun that is ending already does not end sooner for being asked.
  if grep -qs ' connect ' "$notes/lost"; then
    kill -"$end_signal" "$child"
    sleep 3
  fi
  kill -KILL "$child"
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

# First signal: a checkpoint, please. Second: end. Third: at once.
pass_signal() {
  case $signals in
    1)
      if [[ $command != train ]]; then
        kill -"$end_signal" "$child" 2>/dev/null || true
        return 0
      fi
      say "Stopping after a checkpoint (within $grace s; once more ends at once)."
      end_after_grace 2>/dev/null &
      timer=$!
      ;;
    2) kill -"$end_signal" "$child" 2>/dev/null || true ;;
    *) kill -KILL "$child" 2>/dev/null || true ;;
  esac
}

# Asks for a checkpoint, and ends mpirun when the time for one is over. A rank that does not exist yet would
# not hear of it, and one that has just been made would die of it: so not before the run tells of itself.
end_after_grace() {
  local tick asked=0
  for ((tick = 0; ; tick++)); do
    # Often enough to see when it is not needed.
    kill -0 "$child" && kill -0 $$ || return 0
    if ((!asked)) && [[ -e $notes/begun ]]; then
      kill -USR1 "$child" || return 0
      asked=1
    fi
    ((tick < 5 * grace)) || break
    sleep 0.2
  done
  kill -"$end_signal" "$child"
  sleep 3
  kill -KILL "$child"
}
