# One start of mpirun, and how it was lost.

# Starts the words after $0 with their output also in the files stdout and stderr of this rank's folder within $0;
# without them if they cannot be made. mpirun's own option for this has another form in every version, and loses
# output in some. What writes the files ends with the rank, not with its signals.
keep_log='folder=$0/rank.$OMPI_COMM_WORLD_RANK
mkdir -p "$folder" || exec "$@"
go_on() { trap "" '"${heard[*]}"'; exec tee "$folder/$1"; }
exec "$@" > >(go_on stdout) 2> >(go_on stderr >&2)'

# Which file status.json is now: a run puts a new one in its place whenever it writes it.
version_of_status() { stat -c '%i %y' "$(output_folder)/status.json" 2>/dev/null || true; }

# Starts mpirun once, for attempt number $1 of this run (from 0), and returns its exit code.
attempt() {
  local line=("${mpirun[@]}") code=0 child folder errors tick
  status_before=$(version_of_status)
  if ((per_rank_logs)); then
    folder=$(output_folder)/logs
    (($1 == 0)) || folder+=/attempt-$(($1 + 1))
    mkdir -p "$folder" 2>/dev/null || fail 10 "--per_rank_logs: the folder $folder cannot be made."
    if in_use; then
      say "Note: another run lives in ${folder%/logs*}: this one's logs are not kept."
    else
      line+=(bash -c "$keep_log" "$(realpath -m "$folder")")
    fi
  fi
  line+=("$program" "$command" "${flags[@]}")
  # mpirun ends when this script is killed, and the ranks end with mpirun.
  ! command -v setpriv >/dev/null || line=(setpriv --pdeathsig "$end_signal" "${line[@]}")
  # The worker is deaf; mpirun must not be.
  if env --default-signal true 2>/dev/null; then
    local hearing=("${heard[@]/#/--default-signal=}")
    [[ $end_signal == TERM ]] || hearing+=(--block-signal=TERM)
    line=(env "${hearing[@]}" "${line[@]}")
  fi
  rm -f "$notes"/{lost,new,over,usage,daemons,ended,told}
  note new
  exec {errors}> >(quiet_mpirun)
  # A session of its own: a terminal's Ctrl-C reaches this script only.
  setsid "${line[@]}" </dev/null 2>&"$errors" {errors}>&- &
  child=$!
  exec {errors}>&-
  # Quiet: bash would tell of a child that was killed.
  wait "$child" 2>/dev/null || code=$?
  for ((tick = 0; tick < 300; tick++)); do
    [[ ! -e $notes/told ]] || break
    ((tick != 100)) || end_leftovers "$child"
    sleep 0.05
  done
  count_signals
  return "$code"
}

# The last step that the run has told of.
last_step() {
  local folder
  folder=$(output_folder)
  {
    echo 0
    sed -n 's/.*"step":\([0-9]*\),.*/\1/p' "$folder/status.json" || true
    tail -n 20 "$folder/metrics.jsonl" | sed -n 's/^{"event":"step",.*"step":\([0-9]*\),.*/\1/p' || true
  } 2>/dev/null | sort -n | tail -1
}

# One line on how the last attempt was lost: documented code $1, mpirun's $3; before it the kernel had killed $2
# processes for memory.
reason_of_loss() {
  local rank='' host='' how=''
  if (($1 == 14)); then
    how=$(sed -n 's/^- - stalled \(.*[^.]\)\.*$/: \1/p' "$notes/lost" 2>/dev/null || true)
    echo "a rank stalled$how, last step $(last_step)"
    return
  fi
  if ((signals > 1)); then echo 'ended at once by a second signal'; return; fi
  if ((signals)) && [[ $command != train ]]; then echo 'ended by a signal'; return; fi
  if ((signals)); then echo 'ended by a signal before a checkpoint was written'; return; fi
  if ! read -r rank host how 2>/dev/null <"$notes/lost"; then
    # mpirun may tell of a kill by its exit code only.
    if (($3 > 128 && $3 < 160)) && [[ ! -e $notes/ended ]]; then how=$(kill -l $(($3 - 128)) 2>/dev/null || true); fi
    how=${how:+was ended by signal $(($3 - 128)) (SIG$how)$(tell_of_memory "$2")}
    echo "a rank or mpirun ${how:-died}, last step $(last_step)"
    return
  fi
  case $how in
    closed) echo "a rank that $host had a connection to has died, last step $(last_step)"; return ;;
    contact) echo "contact with host $host was lost, last step $(last_step)"; return ;;
    early) how='ended before its work was done' ;;
    *) how="was ended by signal $how" ;;
  esac
  echo "rank $rank on $host $how$(tell_of_memory "$2"), last step $(last_step)"
}

tell_of_memory() { (($(out_of_memory_kills) <= $1)) || echo '; this host ran out of memory'; }

# Processes that the kernel has killed for memory in this container.
out_of_memory_kills() {
  awk '$1 == "oom_kill" {n = $2} END {print n + 0}' /sys/fs/cgroup/memory.events 2>/dev/null || echo 0
}

# Whether this attempt has ended with a checkpoint, on a signal: an mpirun that got it as well has another exit code.
is_preempted() {
  [[ $command == train ]] && ! only_tests && has_begun || return 1
  # An old file tells of an earlier attempt.
  [[ $(version_of_status) != "$status_before" ]] || return 1
  grep -qs '"state":"preempted"' "$(output_folder)/status.json"
}

# mpirun's code in terms of the documented ones.
documented_code() {
  local code=$1
  ! is_preempted || { echo 15; return; }
  if grep -qs '^- - stalled ' "$notes/lost"; then
    # mpirun may have had to be killed.
    if ((code >= 126 || code == 1)); then code=14; fi
  elif ((code == 14)); then
    # MPI's own in version 5, when it cannot begin or loses a connection.
    code=16
  fi
  if ((code >= 126 || code == 1)); then code=16; fi
  if ((code == 0)) && [[ $command == train ]] && ! only_tests; then
    local file
    file=$(output_folder)/status.json
    [[ ! -r $file ]] || ! grep -q '"state":"running"' "$file" || code=16
  fi
  echo "$code"
}

# Whether --mpi_args are why attempt number $2, which mpirun ended with code $1, has not begun.
mpi_args_are_unusable() {
  ((${#mpi_args[@]})) || return 1
  [[ ! -e $notes/usage ]] || return 0
  # A rank or a host that has been lost has its own note or exit code.
  # Version 5 has codes of its own, above those of signals; 14 is MPI's in the ranks.
  (($2 == 0 && ($1 == 1 || $1 == 14 || $1 >= 160))) && [[ $command == train && ! -s $notes/lost && ! -e $notes/daemons ]]
}

# Ends the run if attempt number $2, which mpirun ended with code $1, shows that another one would not even start.
fail_if_it_cannot_start() {
  local host='' how=''
  (($1 && signals == 0)) && ! has_begun || return 0
  ! read -r _ host how 2>/dev/null <"$notes/lost" || case $how in
    connect*)
      fail 10 "ranks on different hosts could not connect over the network: $host: ${how#connect }
Hosts must reach each other on all TCP ports, over a network that they share.
Open the firewall, or name that network: --mpi_args '--mca btl_tcp_if_include 10.0.0.0/24'" ;;
    missing*) fail_for_lack "$host" "no ${how#missing }" ;;
  esac
  ! mpi_args_are_unusable "$@" ||
    fail 10 "mpirun could not start the program with --mpi_args \"${mpi_args[*]}\". Mend them, or leave them out."
  # The loader's own words do not say on which host.
  (($1 == 127)) || return 0
  look_at_hosts libraries
  fail 10 "the program $program cannot be loaded on every host.
Give every host the libraries that \"ldd $program\" lists on this one."
}
