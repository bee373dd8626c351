# Ranks, threads and the mpirun line.

# Open MPI would use every network that two hosts seem to share: also bridges of containers and virtual
# machines, which bear the same addresses everywhere and lead nowhere. There it waits for ever.
choose_network() {
  local network
  network=$(network_of_hosts)
  [[ -n $network ]] || return 0
  # Whoever has written of networks in a file means it.
  ! grep -qsE '^[[:space:]]*(btl|oob)_tcp_if_(in|ex)clude[[:space:]]*=' \
    ~/.openmpi/mca-params.conf /etc/openmpi/openmpi-mca-params.conf || return 0
  keep_to_network "$network"
}

# Every worker needs a shard of the batch. Of `ranks` and `threads` gives way what was not asked for, that is
# where $1 and $2 are empty; a note says how many of $3, like "12 cores", are left.
fit_to_shards() {
  [[ -n $shards ]] || return 0
  local before="$ranks $threads"
  if [[ -z $2 ]] && ((${ranks:-1} * threads > shards)); then
    threads=$((shards / ${ranks:-1} > 0 ? shards / ${ranks:-1} : 1))
  fi
  if [[ -z $1 && -n $ranks ]] && ((ranks * threads > shards && threads <= shards)); then
    ranks=$((shards / threads))
  fi
  # What was asked for may be too much all the same: the program refuses it.
  local workers=$((${ranks:-1} * threads)) size advice
  if [[ $before != "$ranks $threads" ]] && ((workers <= shards)); then
    size=$(batch_size) advice=$(advise_shards "${3%% *}")
    say "Note: $workers of $3 compute, as the batch of $size has $shards shards.$advice"
  fi
}

# How $1 workers, or nearly as many, would get a shard each.
advise_shards() {
  local more=$shards size ways=''
  size=$(batch_size)
  while ((more < $1 && more * 2 <= size)); do more=$((more * 2)); done
  ((more == shards)) || ways="--shards $more (a different sum, so different bits)"
  # By itself a batch never has more than 16.
  ((shards >= 16)) || [[ $(flag_value shards) == *[1-9]* ]] || ways+="${ways:+ or }a larger --batch_size"
  [[ -z $ways ]] || echo " For more of them: $ways."
}

plan() {
  check_slurm
  check_hosts
  # Where there is none yet, `setup` installs it.
  ! command -v mpirun >/dev/null || need_mpirun
  local cores shards
  cores=$(usable_cores)
  shards=$(shards_of_batch)
  ((!in_slurm)) || plan_slurm
  threads=${threads:-1}
  if [[ -z $ranks ]] && ((!in_slurm)); then
    if [[ -n $hosts$hostfile ]]; then ranks=$(slots)
    else
      ranks=$((cores / threads > 0 ? cores / threads : 1))
      fit_to_shards '' "$threads" "$cores cores"
    fi
  fi
  [[ -z $ranks$min_ranks ]] || ((${min_ranks:-0} <= ${ranks:-$min_ranks})) ||
    fail 10 "--min_ranks is $min_ranks, but the run begins with $ranks ranks. Give at most that."
  flags=("${given[@]}")
  [[ ! $command =~ ^(train|evaluate|bench)$ ]] || flags+=(--threads "$threads")
  [[ -z $stall_timeout ]] || flags+=(--stall_timeout "$stall_timeout")
}

# Sets `mpirun` to the words that start the planned ranks.
compose_mpirun() {
  mpirun=(mpirun)
  [[ -z $ranks ]] || mpirun+=(-np "$ranks")
  # Two runs on one host would be bound to the same cores.
  mpirun+=(--bind-to none)
  # One message for all ranks, which version 5 always does.
  ((mpi_version > 4)) || set_for_mpi orte_base_help_aggregate 1
  if [[ -n $hosts$hostfile ]]; then
    if [[ -n $hostfile ]]; then mpirun+=(--hostfile "$hostfile"); else mpirun+=(--host "$hosts"); fi
    local room
    room=$(slots)
    if ((ranks > room)); then
      say "Note: $ranks ranks share $room slots of the hosts."
      mpirun+=(--oversubscribe)
      set_for_mpi mpi_yield_when_idle 1
    fi
  elif ((in_slurm)); then
    local tasks
    tasks=$(slurm_tasks)
    if ((${ranks:-0} > ${tasks:-0} && ${tasks:-0} > 0)); then
      say "Note: $ranks ranks share the $tasks tasks of the allocation."
      mpirun+=(--oversubscribe)
      set_for_mpi mpi_yield_when_idle 1
    fi
    [[ $end_signal == TERM ]] || start_helper_by 'env --block-signal=TERM'
  else
    mpirun+=(--host "localhost:$ranks")
    set_one_host
    local cores
    cores=$(usable_cores)
    if ((ranks * threads > cores)); then
      say "Note: $ranks ranks x $threads threads share $cores cores."
      mpirun+=(--oversubscribe)
      set_for_mpi mpi_yield_when_idle 1
    fi
  fi
  single_copy_works || forbid_single_copy
  if [[ -n $hosts$hostfile ]] || ((in_slurm)); then
    # Other hosts get only what is named.
    local name
    for name in OPENBLAS_NUM_THREADS OMP_NUM_THREADS OPENBLAS_CORETYPE LD_LIBRARY_PATH CONVNN_ATTEMPT; do
      [[ -z ${!name+set} ]] || mpirun+=(-x "$name")
    done
    mpirun+=(--wdir "$PWD")
    # A host that is cut off without a word is given up after two minutes.
    set_for_starter oob_tcp_keepalive_time 60
    set_for_starter oob_tcp_keepalive_intvl 15
    set_for_starter oob_tcp_keepalive_probes 4
  fi
  [[ -z $hosts$hostfile ]] || choose_network
  mpirun+=("${mpi_args[@]}")
}
