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
write_status() {
  local file epoch
  file=$(output_folder)/status.json
  [[ $command == train && -w $file ]] && ! in_use || return 0
  grep -q '"state":"running"' "$file" || return 0
  epoch=$(sed -n 's/.*"epoch":\([0-9]*\),.*/\1/p' "$file")
  printf '{"state":"failed","step":%d,"epoch":%d,"exit_code":%d,"reason":"%s"}\n' \
    "$(last_step)" "${epoch:-0}" "$1" "$2" >"$file.new" && mv "$file.new" "$file"
  file=$(output_folder)/report.html
  [[ ! -w $file ]] || {
    sed -e 's|: running</title>|: failed</title>|' \
      -e "s|<strong class=\"state running\">running</strong>|<strong class=\"state failed\">failed</strong> ($2)|" \
      "$file" >"$file.new" && mv "$file.new" "$file"
  }
}

# Waits before restart number $1, ends early on a signal.
back_off() {
  local seconds=$(($1 < 6 ? $1 * $1 : 30)) second
  for ((second = 0; second < seconds && signals == 0; second++)); do sleep 1; done
}

run() {
  # `say` goes on when nobody listens.
  trap '' PIPE
  given=("${flags[@]}")
  export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 CONVNN_ATTEMPT=0
  plan
  if ((dry_run)); then
    printf '%s ranks x %s threads, program %s\n' "${ranks:-as Slurm gives}" "$threads" "$program"
    printf '%q ' "${mpirun[@]}" "$program" "$command" "${flags[@]}"
    printf '\n'
    exit 0
  fi
  ((!in_slurm)) || advise_exec
  build_if_needed
  allow_root
  sweep_leftovers
  notes=$(mktemp -d "${TMPDIR:-/tmp}/convnn-launch.$$.XXXXXX")
  trap 'on_exit "$notes"' EXIT
  trap on_signal INT TERM HUP USR1 XCPU
  trap on_end USR2
  look_at_hosts
  local number code started kills reason row=0 step=-1
  for ((number = 0; ; number++)); do
    started=$SECONDS code=0 kills=$(out_of_memory_kills)
    export CONVNN_ATTEMPT=$number
    attempt || code=$?
    fail_if_it_cannot_start "$code"
    code=$(documented_code "$code")
    ((code == 14 || code == 16)) || break
    reason=$(reason_of_loss "$code" "$kills")
    say "Lost after $((SECONDS - started)) s: $reason."
    write_status "$code" "$reason"
    ((number < max_restarts && signals == 0)) || break
    row=$(($(last_step) > step ? 1 : row + 1)) step=$(last_step)
    drop_lost_hosts
    # Lost twice at one place: memory for one rank less may be what it takes.
    ((row < 2)) || [[ -z $min_ranks || -z $ranks ]] || ((ranks <= min_ranks)) || ranks=$((ranks - 1))
    plan
    say "Restart $((number + 1)) of $max_restarts on ${ranks:-all} ranks, from the last checkpoint."
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
  rm -rf "$1"
  ((code)) || show_results
}
