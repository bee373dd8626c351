# Signals to the launcher. Bash 5.2 may lose one, or fail on it, while it expands $(…): so the main process, which
# gets them, does nothing but wait for a worker that does all else. A deputy, which hears of signals by a pipe,
# passes them on. Both are deaf themselves: a terminal and Slurm send signals to every process.

# How many there have been: in the main process and its deputy; in the worker after `count_signals`.
signals=0 first_signal=0 worker=''

# Those that ask for a checkpoint, and then for an end.
heard=(INT TERM HUP USR1 USR2 XCPU)

be_deaf() { trap '' "${heard[@]}"; }

# Runs the command $1 as the worker, and ends as it does.
run_guarded() {
  local deputy code=0
  exec {deputy}> >(be_deputy)
  trap on_signal "${heard[@]}"
  {
    be_deaf
    exec {deputy}>&-
    worker=$BASHPID
    "$1"
  } &
  worker=$!
  echo "worker $worker" >&"$deputy" || true
  # A signal ends a `wait`, not what it is for. Quiet: bash would tell of a worker that was killed.
  while kill -0 "$worker" 2>/dev/null; do wait "$worker" 2>/dev/null || true; done
  wait "$worker" 2>/dev/null || code=$?
  exit "$code"
}

on_signal() {
  # When the time of a job is over, Slurm sends a step its SIGTERM twice within milliseconds.
  ((!in_slurm || signals != 1 || SECONDS - first_signal > 1)) || return 0
  ((signals)) || first_signal=$SECONDS
  signals=$((signals + 1))
  note_signal
  echo signal >&"$deputy" || true
}

# For the worker: a line in the notes, which something may have swept.
note_signal() {
  { [[ -d $notes ]] || mkdir -m 700 "$notes"; } 2>/dev/null || return 0
  { echo >>"$notes/signals"; } 2>/dev/null || true
}

count_signals() {
  local lines=()
  [[ ! -e $notes/signals ]] || mapfile -t lines <"$notes/signals"
  signals=${#lines[@]}
}

# Ends what has not begun, unless it is one request for a checkpoint: then the run begins, and writes one.
end_if_signalled() {
  count_signals
  ((signals > 1)) || { ((signals)) && [[ $command != train || ${1-} == now ]]; } || return 0
  fail 16 'ended by a signal, nothing has been started.'
}

# Passes signals on until the main process is gone. If that has been killed, the worker and mpirun go with it.
be_deputy() {
  be_deaf
  local word value number process
  while read -r word value; do
    case $word in
      signal)
        signals=$((signals + 1))
        [[ -z $worker ]] || pass_signal "$signals" &
        ;;
      worker)
        worker=$value
        for ((number = 1; number <= signals; number++)); do pass_signal "$number" & done
        ;;
    esac
  done
  [[ -n $worker ]] && kill -0 "$worker" 2>/dev/null || return 0
  process=$(session_of "$worker")
  kill -KILL "$worker" 2>/dev/null || true
  [[ -z $process ]] || kill -"$end_signal" "$process" 2>/dev/null || true
}

# Passes on signal number $1. First: a checkpoint, please. Second: end. Third: at once.
pass_signal() {
  case $1 in
    1)
      if [[ $command == train ]]; then
        say "Stopping after a checkpoint (within $grace s; once more ends at once)."
        end_after_grace 2>/dev/null
      else
        signal_mpirun "$end_signal"
      fi
      ;;
    2) signal_mpirun "$end_signal" ;;
    *) signal_mpirun KILL ;;
  esac
}

# Sends mpirun the signal $1; if there is none yet, as soon as there is.
signal_mpirun() {
  local process
  while kill -0 "$worker" 2>/dev/null; do
    process=$(session_of "$worker")
    if [[ -n $process ]]; then
      kill -"$1" "$process" 2>/dev/null || true
      return 0
    fi
    sleep 0.1
  done
}

# Asks for a checkpoint, and ends mpirun when the time for one is over. A rank that does not exist yet would
# not hear of it, and one that has just been made would die of it: so not before the run tells of itself.
end_after_grace() {
  local process='' asked=0 tick=0
  ((grace)) || { signal_mpirun "$end_signal"; return; }
  while ((tick < 5 * grace)); do
    kill -0 "$worker" || return 0
    [[ -n $process ]] || process=$(session_of "$worker")
    if [[ -n $process ]]; then
      kill -0 "$process" || return 0
      if ((!asked)) && has_begun; then
        kill -USR1 "$process" || return 0
        asked=1
      fi
      tick=$((tick + 1))
    fi
    # Often enough to see when it is not needed.
    sleep 0.2
  done
  end_process "$process"
}

# Asks the process $1 to end, and ends it three seconds later.
end_process() {
  local tick
  kill -"$end_signal" "$1"
  for ((tick = 0; tick < 15; tick++)); do
    kill -0 "$1" || return 0
    sleep 0.2
  done
  kill -KILL "$1"
}

# The child of process $1 that leads a session: of the worker, that is mpirun.
session_of() {
  # A process may end meanwhile.
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } |
    awk -v parent="$1" '{process = $1; sub(/.*\) /, "")} $2 == parent && $4 == process {print process}'
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
