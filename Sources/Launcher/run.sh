# A run: attempts, restarts, and the status that a dead one cannot write itself.

# Whether a run lives in the output folder; one that has just been ended gets time to go.
in_use() {
  local lock code=0
  lock=$(output_folder)/.lock
  [[ -e $lock ]] && command -v flock >/dev/null || return 1
  flock -E 75 -w 5 "$lock" true 2>/dev/null || code=$?
  ((code == 75))
}

# A run that died cannot say so itself. One that another run kept out has nothing to say of the folder.
# The disk may be full.
write_status() {
  local file epoch
  file=$(output_folder)/status.json
  [[ $command == train && -w $file ]] && ! in_use || return 0
  grep -q '"state":"running"' "$file" || return 0
  epoch=$(sed -n 's/.*"epoch":\([0-9]*\),.*/\1/p' "$file")
  printf '{"state":"failed","step":%d,"epoch":%d,"exit_code":%d,"reason":"%s"}\n' \
    "$(last_step)" "${epoch:-0}" "$1" "$2" 2>/dev/null | replace "$file"
  file=$(output_folder)/report.html
  [[ ! -w $file ]] || {
    sed -e 's|: running</title>|: failed</title>|' \
      -e "s|<strong class=\"state running\">running</strong>|<strong class=\"state failed\">failed</strong> ($2)|" \
      "$file" 2>/dev/null | replace "$file"
  }
}

# Puts what it reads in the place of the file $1, whole or not at all.
replace() {
  { cat >"$1.new" && mv "$1.new" "$1"; } 2>/dev/null && return 0
  rm -f "$1.new" 2>/dev/null || true
  say "Note: $1 cannot be written."
}

# Waits before restart number $1, ends early on a signal.
back_off() {
  local seconds=$(($1 < 6 ? $1 * $1 : 30)) second
  for ((second = 0; second < seconds && signals == 0; second++)); do
    sleep 1
    count_signals
  done
}

run() {
  # `say` goes on when nobody listens.
  trap '' PIPE
  given=("${flags[@]}")
  export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 CONVNN_ATTEMPT=0
  plan
  if ((dry_run)); then
    mpi_version=${mpi_version:-4}
    compose_mpirun
    printf '%s ranks x %s threads, program %s\n' "${ranks:-as Slurm gives}" "$threads" "$program"
    print_command "${mpirun[@]}" "$program" "$command" "${flags[@]}"
    exit 0
  fi
  ((!in_slurm)) || advise_exec
  build_if_needed
  need_mpirun
  compose_mpirun
  notes=''
  trap on_exit EXIT
  local name
  name=$(name_of_notes)
  notes=$(mktemp -d "$name$$.XXXXXX") ||
    fail 10 "no folder for notes can be made in ${TMPDIR:-/tmp}. Mend that, or name another one: TMPDIR."
  run_guarded make_attempts
}

# The worker: starts mpirun, and starts it again where that helps. Exits with the documented code.
make_attempts() {
  allow_root
  sweep_leftovers
  look_at_hosts
  end_if_signalled
  mark_demonstration
  local number code mpirun_code started kills reason last row=0 step=-1 begun=0 from=''
  for ((number = 0; ; number++)); do
    started=$SECONDS mpirun_code=0 kills=$(out_of_memory_kills)
    # Above 0 the program takes what lies in the output folder for this run's: that is so once one has begun.
    export CONVNN_ATTEMPT=$begun
    attempt "$number" || mpirun_code=$?
    fail_if_it_cannot_start "$mpirun_code" "$number"
    code=$(documented_code "$mpirun_code")
    ((code == 14 || code == 16)) || break
    if has_begun; then begun=$((begun + 1)) from=', from the last checkpoint'; fi
    reason=$(reason_of_loss "$code" "$kills" "$mpirun_code")
    say "Lost after $((SECONDS - started)) s: $reason."
    write_status "$code" "$reason" || true
    ((number < max_restarts && signals == 0)) || break
    last=$(last_step)
    row=$((last > step ? 1 : row + 1)) step=$last
    drop_lost_hosts
    # Lost twice at one place: memory for one rank less may be what it takes.
    ((row < 2)) || [[ -z $min_ranks || -z $ranks ]] || ((ranks <= min_ranks)) || ranks=$((ranks - 1))
    plan
    compose_mpirun
    say "Restart $((number + 1)) of $max_restarts on ${ranks:-all} ranks$from."
    back_off "$number"
    ((signals == 0)) || break
  done
  if ((code == 16 && max_restarts == 0)) && [[ $command == train ]]; then
    say 'The same command goes on from the last checkpoint; --max_restarts N does so by itself.'
  fi
  exit "$code"
}

on_exit() {
  local code=$?
  ((BASHPID == $$)) || return 0
  [[ -z $notes ]] || rm -rf "$notes"
  drop_demonstration
  # A signal has also ended something that this script had called.
  ((signals == 0 || code < 128)) || exit 16
  ((code)) || show_results
}
